"""The points the projections show: one per picture of a split, as pooled quantized latents of picture and caption."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.codes import Rows
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
    codes: np.ndarray
    """(N,) the pairs' records in the store: structured array with `record_row`, `top`, `bottom` and `text`."""
    available: int
    """Pictures of the split that these N were drawn from."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def record_rows(self) -> np.ndarray:
        """(N,) int64, the pairs' places in the prepared set."""
        return self.codes["record_row"].astype(np.int64)

    @property
    def drawn(self) -> str:
        """How many pictures there are, and of how many they were drawn, in words."""
        if len(self) == self.available:
            return f"{len(self):,} pictures"
        return f"{len(self):,} of {self.available:,} pictures drawn by seed"


def gather_points(dataset: PreparedSet, rows: Rows, vqvae: VQVAE, *, max_points: int, seed: int) -> LatentPoints:
    """Pooled z_q of a split's pictures and captions, of each picture its first pair; of more than `max_points` a seeded
    choice, and only the codes of these are read."""
    record_rows = rows.record_rows
    chosen = first = first_pairs(dataset, record_rows)
    if len(first) > max_points:
        chosen = np.sort(np.random.default_rng(seed).choice(first, max_points, replace=False))
    codes = rows.take(chosen)
    return LatentPoints(
        top=pool(codes["top"], vqvae.embed_top),
        bottom=pool(codes["bottom"], vqvae.embed_bottom),
        text=pool(codes["text"], vqvae.embed_top),
        records=[dataset.records[row] for row in record_rows[chosen]],
        codes=codes,
        available=len(first),
    )


def first_pairs(dataset: PreparedSet, record_rows: np.ndarray) -> np.ndarray:
    """Where among a split's pairs (P,) each picture's first one is: int64, rising."""
    pictures = np.array([dataset.records[row].image for row in record_rows])
    return np.sort(np.unique(pictures, return_index=True)[1])


@torch.no_grad()
def pool(indices: np.ndarray, embed: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Mean of z_q over all positions: codes (N,...) -> float32 (N,D); a few at a time, so memory stays flat."""
    parts = []
    for start in range(0, len(indices), POOL_BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(indices[start : start + POOL_BATCH]).astype(np.int64))
        parts.append(embed(batch).flatten(1, -2).mean(1).float().numpy())  # (B,...,D) -> (B,D)
    return np.concatenate(parts)
