"""Batches that the baseline learns from: x_0 with its caption's features."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from stages.blip import Features
from stages.codes import SplitCodes
from stages.data import PreparedSet, to_tensor
from stages.diffusion.module import NoisingBatch
from stages.diffusion.spaces import LatentSpace
from stages.vqvae import Codes


class Pairs:
    """A split's pairs.

    Args:
        x_0: of the pairs of some row numbers.
        record_rows: (n,) int64, place of each pair in the prepared set.
    """

    def __init__(self, x_0: Callable[[np.ndarray], Tensor], record_rows: np.ndarray, features: Features) -> None:
        self.x_0, self.record_rows, self.features = x_0, record_rows, features

    def __len__(self) -> int:
        return len(self.record_rows)

    def batch(self, rows: np.ndarray) -> NoisingBatch:
        """Pairs of these row numbers of the split; text is cut to the longest caption among them."""
        text, mask = self.features.text(self.record_rows[rows])
        return NoisingBatch(self.x_0(rows), text, mask)


def latent_pairs(codes: SplitCodes, features: Features, space: LatentSpace) -> Pairs:
    """A split by its codes."""
    return Pairs(lambda rows: space.from_codes(codes_of(codes, rows)), codes.record_rows, features)


def pixel_pairs(dataset: PreparedSet, split: str, features: Features) -> Pairs:
    """A split by its pictures."""
    chosen = dataset.split(split)
    return Pairs(lambda rows: to_tensor(dataset.images[chosen.image_rows[rows]]), chosen.record_rows, features)


def codes_of(codes: SplitCodes, rows: np.ndarray) -> Codes:
    """Codes of these row numbers of a split."""
    top, bottom = (torch.from_numpy(level[rows].astype(np.int64)) for level in (codes.top, codes.bottom))
    return Codes(top, bottom)
