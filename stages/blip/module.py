"""How BLIP is tuned: contrastive, matching and caption losses on one picture encoding per step (arXiv:2201.12086)."""

import math
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from stages.blip.losses import hard_negatives, itc_loss, itm_loss, lm_loss, related_pairs
from stages.blip.metrics import recall_at, retrieval_ranks
from stages.blip.network import BlipNetwork, Encoded
from stages.config.blip import BlipConfig
from stages.training import adamw_cosine

_VAL_SEED = 2**32  # apart from every training step's


class Batch(NamedTuple):
    """Pairs of picture and caption."""

    image: Tensor  # (B,3,H,W) in [-1,1]
    input_ids: Tensor  # (B,L) int64
    attention_mask: Tensor  # (B,L) int64
    image_index: Tensor  # (B,) int64, equal where the picture is the same
    caption_index: Tensor  # (B,) int64, equal where the caption is the same


class Losses(NamedTuple):
    """The three losses of a batch, in nats."""

    itc: Tensor
    itm: Tensor
    lm: Tensor


class BlipModule(pl.LightningModule):
    """BLIP with its losses, logged values and optimiser.

    Args:
        seed: of the hard negatives; those of a step are a pure function of (seed, step).
    """

    def __init__(self, network: BlipNetwork, config: BlipConfig, seed: int) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.seed = seed
        self.log_temperature = torch.nn.Parameter(torch.tensor(config.temperature).log())
        self._val: list[tuple[Tensor, Tensor, Tensor]] = []

    def temperature(self) -> Tensor:
        """Temperature of ITC, (), learned as its logarithm and kept in [0.01, 0.5]."""
        return self.log_temperature.exp().clamp(0.01, 0.5)

    def losses(self, batch: Batch, draw: int) -> tuple[Losses, Encoded, Encoded]:
        """The losses of a batch, and what the towers made of pictures and captions.

        Args:
            draw: number of the draw of hard negatives; the same number gives the same negatives.
        """
        image = self.network.encode_images(batch.image)
        text = self.network.encode_text(batch.input_ids, batch.attention_mask)
        related = related_pairs(batch.image_index, batch.caption_index)
        temperature = self.temperature()
        similarity = (image.pooled @ text.pooled.T / temperature).detach()  # (B,B), row = picture
        logits = self.network.caption_logits(image.tokens, batch.input_ids, batch.attention_mask)
        losses = Losses(
            itc=itc_loss(image.pooled, text.pooled, related, temperature),
            itm=self._matching(batch, image.tokens, similarity, related, draw),
            lm=lm_loss(logits, batch.input_ids, batch.attention_mask),
        )
        return losses, image, text

    def _matching(self, batch: Batch, image_tokens: Tensor, similarity: Tensor, related: Tensor, draw: int) -> Tensor:
        """ITM over n pairs, their pictures with a hard caption and their captions with a hard picture, in one pass."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + draw) % 2**63)
        count = math.ceil(len(related) * self.config.itm_share) if self.training else len(related)
        rows = torch.arange(count, device=related.device)
        wrong_caption = hard_negatives(similarity, related, generator)[:count]  # (n,) for each picture
        wrong_image = hard_negatives(similarity.T, related.T, generator)[:count]  # (n,) for each caption
        has_caption, has_image = wrong_caption >= 0, wrong_image >= 0
        images = torch.cat([rows, rows[has_caption], wrong_image[has_image]])  # (M,), M <= 3n
        captions = torch.cat([rows, wrong_caption[has_caption], rows[has_image]])
        logits = self.network.match(image_tokens[images], batch.input_ids[captions], batch.attention_mask[captions])
        return itm_loss(logits, related[images, captions])

    def total(self, losses: Losses) -> Tensor:
        """The weighted sum of the losses, as the config weighs them."""
        config = self.config
        return config.itc_weight * losses.itc + config.itm_weight * losses.itm + config.lm_weight * losses.lm

    def _log_losses(self, split: str, losses: Losses, count: int) -> Tensor:
        total = self.total(losses)
        named = {f"{split}/{name}": value for name, value in losses._asdict().items()}
        self.log_dict(named | {f"{split}/loss": total}, batch_size=count)
        return total

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        losses, _, _ = self.losses(batch, self.global_step)
        self.log("train/temperature", self.temperature(), batch_size=len(batch.image))
        return self._log_losses("train", losses, len(batch.image))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        losses, image, text = self.losses(batch, _VAL_SEED + batch_idx)
        self._log_losses("val", losses, len(batch.image))
        self._val.append((image.pooled, text.pooled, batch.image_index))

    def on_validation_epoch_end(self) -> None:
        if not self._val:
            return
        image, text, index = (torch.cat(parts) for parts in zip(*self._val, strict=True))
        self._val = []
        ranks = retrieval_ranks(text.float().cpu().numpy(), image.float().cpu().numpy(), index.cpu().numpy())
        recalls = {k: recall_at(ranks, k) for k in (1, 5, 10)}
        self.log("val/retrieval_r10", recalls[10])
        self.log("val/mean_recall", sum(recalls.values()) / len(recalls))

    def configure_optimizers(self) -> Any:
        config = self.config
        return adamw_cosine(self, config.lr, config.weight_decay, config.warmup_steps, config.max_steps)
