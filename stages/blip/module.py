"""How BLIP is tuned: contrastive, matching and caption losses on one picture encoding per step (arXiv:2201.12086)."""

import math
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from stages.blip.batch import Batch
from stages.blip.losses import hard_negatives, itc_loss, itm_loss, lm_loss, nearest_negatives, related_pairs
from stages.blip.metrics import recall_at, text_to_image_ranks
from stages.blip.network import BlipNetwork, Encoded, embed_images
from stages.blip.queue import MomentumQueue, Remembered
from stages.config.blip import BlipConfig
from stages.training import adamw_cosine, radam_lookahead

_VAL_SEED = 2**32  # apart from every training step's
_LOG_TEMPERATURES = math.log(0.01), math.log(0.5)


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
        self.queue: MomentumQueue | None = None
        if config.queue_size:
            self.queue = MomentumQueue(network, config.queue_size, config.max_tokens, config.momentum)
        self.log_temperature = torch.nn.Parameter(torch.tensor(config.temperature).log())
        self._val: list[tuple[Tensor, Tensor, Tensor]] = []

    def temperature(self) -> Tensor:
        """Temperature of ITC, (), learned as its logarithm, which each step begins by clamping to [0.01, 0.5]."""
        return self.log_temperature.exp()

    def losses(self, batch: Batch, draw: int) -> tuple[Losses, Encoded, Tensor]:
        """The losses of a batch, what the tower made of its pictures, and the pooled embeddings (B,P) of its captions.

        Args:
            draw: number of the draw of hard negatives; the same number gives the same negatives.
        """
        values = self.network.pixel_values(batch.image)
        image = embed_images(self.network.retrieval, values)
        text = self.network.embed_text(batch.input_ids, batch.attention_mask)
        bank = self._bank(batch, values, image, text)
        related = related_pairs(batch.image_index, batch.caption_index, bank.image_index, bank.caption_index)  # (B,R)
        temperature = self.temperature()
        logits = self.network.caption_logits(image.tokens, batch.input_ids, batch.attention_mask)
        losses = Losses(
            itc=itc_loss(image.pooled, text, bank.image, bank.text, related, temperature),
            itm=self._matching(batch, image, text, bank, related, draw),
            lm=lm_loss(logits, batch.input_ids, batch.attention_mask),
        )
        return losses, image, text

    def _bank(self, batch: Batch, values: Tensor, image: Encoded, text: Tensor) -> Remembered:
        """What pictures and captions are compared with: the batch itself, or with a queue what that remembers."""
        if self.queue is not None and self.training:
            return self.queue.remember(batch, values)
        return Remembered(
            image.pooled, text, batch.input_ids, batch.attention_mask, batch.image_index, batch.caption_index
        )

    def _matching(
        self, batch: Batch, image: Encoded, text: Tensor, bank: Remembered, related: Tensor, draw: int
    ) -> Tensor:
        """ITM over n pairs, their pictures with a hard caption and their captions with a hard picture, in one pass."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + draw) % 2**63)
        size = len(batch.image)
        count = math.ceil(size * self.config.itm_share) if self.training else size
        rows = torch.arange(count, device=related.device)
        similarity = (image.pooled @ text.T / self.temperature()).detach()  # (B,B), row = picture
        among = related[:, :size]
        if len(bank.text) > size:  # there is a queue, and something in it
            nearness = image.pooled[:count] @ bank.text[size:].T  # (n,Q)
            place = nearest_negatives(nearness, related[:count, size:], self.config.nearest, generator)
            wrong_caption = torch.where(place >= 0, place + size, -1)  # (n,) for each picture
            if bool((place < 0).any()):  # the queue holds nothing unrelated to it
                wrong_caption = wrong_caption.where(place >= 0, hard_negatives(similarity, among, generator)[:count])
        else:
            wrong_caption = hard_negatives(similarity, among, generator)[:count]
        wrong_image = hard_negatives(similarity.T, among.T, generator)[:count]  # (n,) for each caption
        has_caption, has_image = wrong_caption >= 0, wrong_image >= 0
        images = torch.cat([rows, rows[has_caption], wrong_image[has_image]])  # (M,), M <= 3n
        captions = torch.cat([rows, wrong_caption[has_caption], rows[has_image]])  # of the bank
        mask = bank.attention_mask[captions]
        longest = int(mask.sum(1).max())
        logits = self.network.match(image.tokens[images], bank.input_ids[captions, :longest], mask[:, :longest])
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
        with torch.no_grad():
            self.log_temperature.clamp_(*_LOG_TEMPERATURES)
        part = batch_idx % self.config.accumulate
        if self.queue is not None and part == 0:  # once a step
            self.queue.follow(self.network)
        losses, _, _ = self.losses(batch, self.global_step * self.config.accumulate + part)
        self.log("train/temperature", self.temperature(), batch_size=len(batch.image))
        return self._log_losses("train", losses, len(batch.image))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        losses, image, text = self.losses(batch, _VAL_SEED + batch_idx)
        self._log_losses("val", losses, len(batch.image))
        self._val.append((image.pooled, text, batch.image_index))

    def on_validation_epoch_end(self) -> None:
        if not self._val:
            return
        image, text, index = (torch.cat(parts) for parts in zip(*self._val, strict=True))
        self._val = []
        ranks = text_to_image_ranks(text.float().cpu().numpy(), image.float().cpu().numpy(), index.cpu().numpy())
        recalls = {k: recall_at(ranks, k) for k in (1, 5, 10)}
        self.log("val/retrieval_r10", recalls[10])
        self.log("val/mean_recall", sum(recalls.values()) / len(recalls))

    def configure_optimizers(self) -> Any:
        config = self.config
        if config.optimizer == "radam_lookahead":
            return radam_lookahead(self, config.lr, config.weight_decay, config.warmup_steps)
        return adamw_cosine(self, config.lr, config.weight_decay, config.warmup_steps, config.max_steps)
