"""How a PixelSNAIL level learns."""

import math
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.prior import LevelConfig, PriorConfig
from stages.prior.captions import Captions
from stages.prior.pixelsnail import PixelSNAIL
from stages.training import adamw_cosine, other_rows


class CodeBatch(NamedTuple):
    """Codes of one level with what they are conditioned on."""

    codes: Tensor
    """(B,H,W) int64."""
    context: Tensor | None
    """(B,h,w) int64 codes of the level above; None on the top level."""
    captions: Captions
    """B of them."""

    def with_others_captions(self) -> "CodeBatch":
        """Each picture with the caption of another one, in other words; see `other_rows`."""
        return self._replace(captions=self.captions.take(other_rows(self.codes, self.captions.pooled)))


def bits_per_code(logits: Tensor, codes: Tensor) -> Tensor:
    """Mean negative log-likelihood (B,) of each picture's codes (B,H,W) under logits (B,K,H,W), in bits."""
    rows = logits.movedim(1, -1).flatten(0, 2).float()  # as the network has them: K lies last, nothing is copied
    nats = F.cross_entropy(rows, codes.flatten(), reduction="none").unflatten(0, codes.shape)
    return nats.mean(dim=(1, 2)) / math.log(2)


class PriorModule(pl.LightningModule):
    """Cross-entropy of the codes; captions dropped at random in training, shuffled for a second look in validation."""

    def __init__(self, network: PixelSNAIL, level: LevelConfig, config: PriorConfig) -> None:
        super().__init__()
        self.network, self.level, self.config = network, level, config

    def training_step(self, batch: CodeBatch, batch_idx: int) -> Tensor:
        kept = torch.rand(len(batch.codes), device=batch.codes.device) >= self.config.caption_dropout
        nll = self._step(batch._replace(captions=batch.captions.keep(kept)))
        self.log_dict({"train/loss": nll.detach(), "train/nll_bits_per_code": nll.detach()})
        return nll

    def validation_step(self, batch: CodeBatch, batch_idx: int) -> None:
        size = len(batch.codes)
        nll = self._step(batch)
        self.log_dict({"val/loss": nll, "val/nll_bits_per_code": nll}, batch_size=size)
        self.log("val/nll_bits_per_code_shuffled", self._step(batch.with_others_captions()), batch_size=size)

    def bits_per_code(self, batch: CodeBatch) -> Tensor:
        """Of each picture (B,), in bits."""
        conditioning = self.network.condition(batch.captions, batch.context)
        return bits_per_code(self.network(batch.codes, conditioning), batch.codes)

    def _step(self, batch: CodeBatch) -> Tensor:
        return self.bits_per_code(batch).mean()

    def configure_optimizers(self) -> Any:
        return adamw_cosine(self, self.level.lr, self.config.weight_decay, 50, self.level.max_steps, betas=(0.9, 0.98))
