"""Momentum copies of the two encoders, and what they made of the last pairs: negatives from beyond the batch."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.blip.batch import Batch
from stages.blip.network import BlipNetwork, embed_images, embed_text


class Remembered(NamedTuple):
    """R pairs to compare pictures and captions with: those of the batch first, then those of the queue."""

    image: Tensor  # (R,P) unit norm
    text: Tensor  # (R,P) unit norm
    input_ids: Tensor  # (R,T) int64
    attention_mask: Tensor  # (R,T) int64
    image_index: Tensor  # (R,) int64
    caption_index: Tensor  # (R,) int64


class MomentumQueue(nn.Module):
    """Momentum encoders with a queue of past pairs (MoCo, arXiv:1911.05722; ALBEF, arXiv:2107.07651, 3.2; BLIP).

    The momentum encoders are not trained: they follow the trained ones, so that what they made of earlier batches stays
    comparable with what they make of this one. All is kept in buffers: a fit that was stopped goes on exactly.

    Args:
        network: whose encoders to follow.
        size: Q, pairs remembered.
        max_tokens: T, longest caption.
        momentum: share of the momentum weights that stays at a step, in [0,1).
    """

    input_ids: Tensor
    pushed: Tensor

    def __init__(self, network: BlipNetwork, size: int, max_tokens: int, momentum: float) -> None:
        super().__init__()
        self.momentum, self.size = momentum, size
        self.encoders = copy.deepcopy(network.retrieval).requires_grad_(False)
        captions = torch.zeros(size, max_tokens, dtype=torch.int64)
        kept = Remembered(
            image=torch.zeros(size, network.embedding_width),
            text=torch.zeros(size, network.embedding_width),
            input_ids=captions,
            attention_mask=captions.clone(),
            image_index=torch.zeros(size, dtype=torch.int64),
            caption_index=torch.zeros(size, dtype=torch.int64),
        )
        for name, value in kept._asdict().items():
            self.register_buffer(name, value)
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # pairs ever put in

    @torch.no_grad()
    def follow(self, network: BlipNetwork) -> None:
        """Moves the momentum encoders towards the trained ones; once a step."""
        for slow, trained in zip(self.encoders.parameters(), network.retrieval.parameters(), strict=True):
            slow.lerp_(trained.detach(), 1 - self.momentum)

    @torch.no_grad()
    def remember(self, batch: Batch, values: Tensor) -> Remembered:
        """The pairs of a batch as the momentum encoders see them, and those in the queue; the batch is put into it.

        Args:
            values: (B,3,S,S) what the picture encoder expects of the batch's pictures.
        """
        image = embed_images(self.encoders, values).pooled
        text = embed_text(self.encoders, batch.input_ids, batch.attention_mask)
        padding = (0, self.input_ids.shape[1] - batch.input_ids.shape[1])
        input_ids, attention_mask = F.pad(batch.input_ids, padding), F.pad(batch.attention_mask, padding)
        new = Remembered(image, text, input_ids, attention_mask, batch.image_index, batch.caption_index)
        filled = min(int(self.pushed), self.size)
        seen = Remembered(*(torch.cat([now, getattr(self, name)[:filled]]) for name, now in new._asdict().items()))
        places = (self.pushed + torch.arange(len(image), device=image.device)) % self.size
        for name, now in new._asdict().items():
            getattr(self, name)[places] = now
        self.pushed += len(image)
        return seen
