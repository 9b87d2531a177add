"""Counting the codes of a split, a few records at a time: many pairs take no more memory than few."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.codes import Rows
from stages.latents.measures import code_counts


@dataclass(frozen=True)
class CodedSplit:
    """The codes of a split's pairs: those of a picture are in as many records as it has captions, and count once."""

    rows: Rows
    """Of every pair."""
    firsts: np.ndarray
    """(N,) int64, where each picture's first pair is, as `first_pairs` has it."""


PARTS = {"top": "top", "bottom": "bottom", "caption": "text"}
"""Level -> what a record of the store calls its codes."""
POSITIONS_AT_ONCE = 1 << 20
"""Positions of the bottom level held at a time."""


def batches(rows: Rows, places: np.ndarray) -> Iterator[np.ndarray]:
    """The records at these places, a few at a time: structured arrays (b,) with `top`, `bottom` and `text`."""
    size = max(1, POSITIONS_AT_ONCE // rows.store.schema.bottom_side**2)
    for start in range(0, len(places), size):
        yield rows.take(places[start : start + size])


def count_codes(split: CodedSplit, codebook_size: int) -> dict[str, np.ndarray]:
    """How often each code occurs, by level (top and bottom over pictures, caption over pairs): int64 (K,)."""
    counts = {level: np.zeros(codebook_size, dtype=np.int64) for level in PARTS}
    every = np.arange(len(split.rows))
    for places, levels in ((split.firsts, ("top", "bottom")), (every, ("caption",))):
        for batch in batches(split.rows, places):
            for level in levels:
                counts[level] += code_counts(batch[PARTS[level]], codebook_size)
    return counts


def most_frequent(counts: np.ndarray, most: int) -> np.ndarray:
    """The codes counted (K,) most often, int64 (C,), most frequent first: at most so many, and only such as occur."""
    order = np.argsort(-counts, kind="stable")[:most]
    chosen: np.ndarray = order[counts[order] > 0]
    return chosen


def count_together(split: CodedSplit, top: np.ndarray, bottom: np.ndarray, codebook_size: int) -> np.ndarray:
    """How often each of some top codes (R,) covers each of some bottom codes (C,) in the pictures: int64 (R,C)."""
    place_above, place_below = _places(top, codebook_size), _places(bottom, codebook_size)
    counts = np.zeros(len(top) * len(bottom), dtype=np.int64)
    for batch in batches(split.rows, split.firsts):
        above = place_above[batch["top"]].repeat(2, axis=1).repeat(2, axis=2)  # (b,2h,2w)
        below = place_below[batch["bottom"]]
        asked = (above >= 0) & (below >= 0)
        counts += np.bincount(above[asked] * len(bottom) + below[asked], minlength=len(counts))
    return counts.reshape(len(top), len(bottom))


def _places(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """The place of each code of the book among these (C,), int64 (K,); -1 for the others."""
    places = np.full(codebook_size, -1)
    places[codes] = np.arange(len(codes))
    return places


class Together(NamedTuple):
    """How often frequent top codes cover frequent bottom codes."""

    top: np.ndarray
    """(R,) int64, the codes of the rows."""
    bottom: np.ndarray
    """(C,) int64, the codes of the columns."""
    counts: np.ndarray
    """(R,C) int64."""
    expected: np.ndarray
    """(R,C): if the levels were independent."""
    positions: int
    """Of the bottom level, those of other codes too."""


def frequent_together(split: CodedSplit, counts: dict[str, np.ndarray], most: int) -> Together:
    """The most frequent codes of each level.

    Args:
        counts: of each level's codes, (K,), as `count_codes` gives them.
        most: codes of a level.
    """
    top, bottom = (most_frequent(counts[level], most) for level in ("top", "bottom"))
    positions = int(counts["bottom"].sum())
    expected = np.outer(4 * counts["top"][top], counts["bottom"][bottom] / max(1, positions))  # a top code covers four
    return Together(top, bottom, count_together(split, top, bottom, len(counts["top"])), expected, positions)
