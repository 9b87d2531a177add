"""The points the projections show: one per picture of a split, as pooled quantized latents of picture and caption."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.codes import SplitCodes
from stages.data import PreparedSet, Record
from stages.vqvae import VQVAE

POOL_BATCH = 128


@dataclass(frozen=True)
class LatentPoints:
    """Pooled latents of N pictures and of one caption of each."""

    top: np.ndarray
    """(N,D) mean of the top level's z_q over its grid."""
    bottom: np.ndarray
    """(N,D) mean of the bottom level's z_q over its grid."""
    text: np.ndarray
    """(N,D) mean of the caption's z_q over its codes; of the top level's code book."""
    records: list[Record]
    """The pair each point stands for: the picture's first in the split."""
    record_rows: np.ndarray
    """(N,) int64, the pairs' places in the prepared set."""

    def __len__(self) -> int:
        return len(self.records)


def gather_points(dataset: PreparedSet, codes: SplitCodes, vqvae: VQVAE, *, max_points: int, seed: int) -> LatentPoints:
    """Pooled z_q of a split's pictures and captions, at most `max_points` of them."""
    chosen = choose_rows(dataset, codes.record_rows, max_points, seed)
    rows = codes.record_rows[chosen]
    return LatentPoints(
        top=pool(codes.top[chosen], vqvae.embed_top),
        bottom=pool(codes.bottom[chosen], vqvae.embed_bottom),
        text=pool(codes.text[chosen], vqvae.embed_top),
        records=[dataset.records[row] for row in rows],
        record_rows=rows,
    )


def choose_rows(dataset: PreparedSet, record_rows: np.ndarray, max_points: int, seed: int) -> np.ndarray:
    """Rows of a split's codes, int64, rising: each picture's first pair; of more than `max_points` a seeded choice."""
    pictures = np.array([dataset.records[row].image for row in record_rows])
    first = np.sort(np.unique(pictures, return_index=True)[1])
    if len(first) <= max_points:
        return first
    return np.sort(np.random.default_rng(seed).choice(first, max_points, replace=False))


@torch.no_grad()
def pool(indices: np.ndarray, embed: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Mean of z_q over all positions: codes (N,...) -> float32 (N,D); a few at a time, so memory stays flat."""
    parts = []
    for start in range(0, len(indices), POOL_BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(indices[start : start + POOL_BATCH]).astype(np.int64))
        parts.append(embed(batch).flatten(1, -2).mean(1).float().numpy())  # (B,...,D) -> (B,D)
    return np.concatenate(parts)
