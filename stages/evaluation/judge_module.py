"""How the judge learns: cross-entropy on every attribute that applies, from real pictures, lightly disturbed."""

from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.data import to_tensor
from stages.evaluation.judge import Judge
from stages.evaluation.labels import ABSENT
from stages.training import adamw_cosine

SHIFT = 2  # pixels, each way
NOISE = 0.06  # largest standard deviation, of a range of 2
BRIGHTNESS = 0.08  # largest shift, of a range of 2
CONTRAST = 0.1  # largest change of the scale
WARMUP_STEPS = 40
WEIGHT_DECAY = 0.02


class JudgeBatch(NamedTuple):
    """Real pictures with what is truly on them."""

    image: Tensor
    """(B,3,H,W) in [-1,1]."""
    labels: Tensor
    """(B,A) int64, number of the attribute's value; -1 where it does not apply."""


class TrainPictures:
    """Batches of real pictures, disturbed; each batch is a pure function of the seed and its row numbers.

    Args:
        images: (N,H,W,3) uint8, of the data set.
        image_rows: (n,) which of them are train pictures.
        examples: (m,H,W,3) uint8, painted for the judge alone; their rows follow those of the train pictures.
        labels: (n+m,A) int64.
    """

    def __init__(
        self, images: np.ndarray, image_rows: np.ndarray, examples: np.ndarray, labels: np.ndarray, seed: int
    ) -> None:
        self.images, self.image_rows, self.examples = images, image_rows, examples
        self.labels, self.seed = torch.from_numpy(labels), seed

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: np.ndarray) -> JudgeBatch:
        """The pictures of these rows."""
        seed = int(np.random.default_rng([self.seed, *rows.tolist()]).integers(2**63))
        pictures = np.empty((len(rows), *self.images.shape[1:]), dtype=np.uint8)
        ours = rows < len(self.image_rows)
        pictures[ours] = self.images[self.image_rows[rows[ours]]]
        pictures[~ours] = self.examples[rows[~ours] - len(self.image_rows)]
        image = disturb(to_tensor(pictures), torch.Generator().manual_seed(seed))
        return JudgeBatch(image, self.labels[torch.from_numpy(rows)])


def disturb(image: Tensor, generator: torch.Generator) -> Tensor:
    """An image (B,3,H,W) in [-1,1] shifted, blurred, made lighter or darker and grainy, each picture in its own way.

    So that the judge also reads pictures with a decoder's blur and grain. The result may leave [-1,1] a little.
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(image), 1, 1, 1, generator=generator)

    image = _shift(image, torch.randint(0, 2 * SHIFT + 1, (len(image), 2), generator=generator))
    blurred = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    image = image.lerp(blurred, uniform(-0.2, 1.0).clamp(0))
    coarse = F.interpolate(F.avg_pool2d(image, 4), scale_factor=4, mode="bilinear")
    image = image.lerp(coarse, uniform(-0.8, 0.8).clamp(0))
    image = image * (1 + uniform(-CONTRAST, CONTRAST)) + uniform(-BRIGHTNESS, BRIGHTNESS)
    return image + uniform(0, NOISE) * torch.randn(image.shape, generator=generator)


class JudgeModule(pl.LightningModule):
    """Trains a judge.

    Args:
        lr: peak learning rate.
        max_steps: optimiser steps over which it falls to 0.
    """

    def __init__(self, judge: Judge, lr: float, max_steps: int) -> None:
        super().__init__()
        self.judge = judge
        self.lr, self.max_steps = lr, max_steps

    def training_step(self, batch: JudgeBatch, batch_idx: int) -> Tensor:
        """Mean loss of a batch, nats."""
        loss = judge_loss(self.judge, batch)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine."""
        return adamw_cosine(self, self.lr, WEIGHT_DECAY, WARMUP_STEPS, self.max_steps)


def judge_loss(judge: Judge, batch: JudgeBatch) -> Tensor:
    """Cross-entropy of the attributes that apply, and of which ones apply; mean over both, nats."""
    logits = judge(batch.image)
    applies = (batch.labels != ABSENT).float()  # (B,A)
    wrong = [
        F.cross_entropy(head, labels, ignore_index=ABSENT, reduction="sum")
        for head, labels in zip(logits.values, batch.labels.unbind(1), strict=True)
    ]
    values = torch.stack(wrong).sum() / applies.sum().clamp(min=1)
    return values + F.binary_cross_entropy_with_logits(logits.applies, applies)


def _shift(image: Tensor, corners: Tensor) -> Tensor:
    """Each picture cut out of itself with its border repeated, at its corner (B,2) in 0..2*SHIFT."""
    height, width = image.shape[-2:]
    padded = F.pad(image, (SHIFT, SHIFT, SHIFT, SHIFT), mode="replicate")
    pairs = zip(padded, corners.tolist(), strict=True)
    return torch.stack([picture[:, y : y + height, x : x + width] for picture, (y, x) in pairs])
