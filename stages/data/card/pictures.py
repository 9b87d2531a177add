"""What the pictures of a prepared set are like: which are the same, and how bright they are."""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.data.prepared import PreparedSet

SAMPLED = 2000
"""Most pictures whose levels are averaged."""
_FINGERPRINT_ROWS = 8
_SAMPLED_SIDE = 64
_BLOCK = 64  # pictures read at a time


@dataclass(frozen=True)
class Levels:
    """Mean and standard deviation of the channels red, green, blue; levels from 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pictures: int
    """Pictures that were looked at, spread evenly over the set."""
    every: int
    """Every so many-th pixel of them was looked at, in both directions; 1: all."""


@dataclass(frozen=True)
class Duplicates:
    """Pictures that are the same pixel by pixel."""

    extra: int
    """Pictures beyond the first of their kind."""
    across_splits: int
    """Of the kinds with several pictures, those with pictures in more than one split."""


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """`wanted` row numbers spread over `count` rows: none is chosen by hand."""
    return sorted({int(row) for row in np.linspace(0, count - 1, min(count, wanted)).round()})


def find_duplicates(dataset: PreparedSet) -> Duplicates:
    """Counts the same pictures.

    A few rows of pixels tell most pictures apart; only those alike in them are read whole.
    """
    images = dataset.images
    step = max(1, dataset.image_size // _FINGERPRINT_ROWS)
    alike = _gather(range(len(images)), lambda row: _digest(images[row, step // 2 :: step]))
    same = [kind for rows in alike for kind in _gather(rows, lambda row: _digest(images[row]))]
    splits: dict[int, set[str]] = {}
    for record in dataset.records:
        splits.setdefault(record.image, set()).add(record.split)
    across = sum(len(set().union(*(splits[row] for row in kind))) > 1 for kind in same)
    return Duplicates(sum(len(kind) - 1 for kind in same), across)


def channel_levels(images: NDArray[np.uint8]) -> Levels:
    """Mean and standard deviation per channel of pictures (N, H, W, 3), over at most `SAMPLED` of them."""
    rows = evenly_spaced(len(images), SAMPLED)
    every = max(1, images.shape[1] // _SAMPLED_SIDE)
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = np.stack([images[row, ::every, ::every] for row in rows[start : start + _BLOCK]])
        for channel in range(3):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256)
    mean = shares @ levels
    std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
    return Levels(tuple(mean.tolist()), tuple(std.tolist()), len(rows), every)


def _gather(rows: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    """The rows that share a key, in lists of two and more."""
    kinds: dict[Hashable, list[int]] = {}
    for row in rows:
        kinds.setdefault(key(row), []).append(row)
    return [kind for kind in kinds.values() if len(kind) > 1]


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
