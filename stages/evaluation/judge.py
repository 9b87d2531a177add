"""The judge: a small convolutional network that reads a picture's attributes and has only ever seen real pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.data import to_tensor
from stages.evaluation.labels import ABSENT
from stages.weights import load_sizes, load_weights, save_weights

NAME = "judge"
LARGEST_SIDE = 64  # larger pictures are read at this side


@dataclass(frozen=True)
class JudgeSizes:
    """What rebuilds a judge."""

    image_size: int
    """Side of the pictures, pixels; a multiple of 8."""
    width: int
    """Channels of the first layer."""
    attribute_values: dict[str, list[str]]
    """Attribute -> its possible values; the order of the heads and of their outputs."""


class JudgeLogits(NamedTuple):
    """What the judge makes of an image, A attributes with V_a values each."""

    values: tuple[Tensor, ...]
    """A of (B,V_a): which value an attribute has, if it applies."""
    applies: Tensor
    """(B,A): whether an attribute applies to what is shown."""


class Judge(nn.Module):
    """A shared trunk, one head for each attribute, and one head that says which attributes apply.

    The trunk: space-to-depth 2, five 3x3 convolutions, two of them halving the side. A head maps the evidence for each
    value over the picture, and its logit is the strongest evidence found anywhere: what is seen elsewhere cannot speak
    against it, so that a combination never seen in training is read as well as any other.
    """

    def __init__(self, sizes: JudgeSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.side = min(sizes.image_size, LARGEST_SIDE)
        width = sizes.width
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),  # (B,12,S/2,S/2)
            _convolution(12, width),
            _convolution(width, 2 * width, stride=2),  # (B,2W,S/4,S/4)
            _convolution(2 * width, 2 * width),
            _convolution(2 * width, 4 * width, stride=2),  # (B,4W,S/8,S/8)
            _convolution(4 * width, 4 * width),
        )
        self.value_counts = [len(values) for values in sizes.attribute_values.values()]
        self.evidence = nn.Conv2d(4 * width, sum(self.value_counts), 1)  # the heads side by side
        self.applies = nn.Linear(8 * width, len(sizes.attribute_values))  # of the mean and the maximum over the grid
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def attributes(self) -> list[str]:
        """Names of the A attributes, in order."""
        return list(self.sizes.attribute_values)

    def forward(self, image: Tensor) -> JudgeLogits:
        """Logits of an image (B,3,H,W) in [-1,1]."""
        if image.shape[-1] != self.side:
            image = F.interpolate(image, size=(self.side, self.side), mode="area")
        grid = self.trunk(image.contiguous(memory_format=torch.channels_last))  # (B,4W,S/8,S/8)
        whole = torch.cat([grid.mean(dim=(2, 3)), grid.amax(dim=(2, 3))], dim=1)  # (B,8W)
        strongest = self.evidence(grid).amax(dim=(2, 3))  # (B, sum of V_a)
        return JudgeLogits(strongest.split(self.value_counts, dim=1), self.applies(whole))

    @torch.no_grad()
    def read(self, image: Tensor) -> Tensor:
        """Number of the value of each attribute, (B,A) int64; -1 where it does not apply to what is shown."""
        logits = self(image)
        values = torch.stack([head.argmax(dim=1) for head in logits.values], dim=1)  # (B,A)
        return torch.where(logits.applies > 0, values, ABSENT)


def read_pictures(judge: Judge, pictures: np.ndarray, batch_size: int) -> np.ndarray:
    """`Judge.read` of pictures (n,H,W,3) uint8, in batches: (n,A) int64."""
    parts = [
        judge.read(to_tensor(pictures[start : start + batch_size])).numpy()
        for start in range(0, len(pictures), batch_size)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, len(judge.attributes)), dtype=np.int64)


def save_judge(judge: Judge, directory: Path) -> None:
    """Writes `judge.safetensors` and `judge.json`."""
    save_weights(judge, judge.sizes, directory, NAME)


def load_judge(directory: Path) -> Judge:
    """The judge in `directory`, on the CPU, in eval mode without gradients.

    Raises:
        StageError: there is none, or it is not whole.
    """
    judge = Judge(load_sizes(JudgeSizes, Path(directory), NAME))
    load_weights(judge, Path(directory), NAME)
    return judge


def _convolution(channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
