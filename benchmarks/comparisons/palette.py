"""The colour check: which skin tone a picture of an emoji shows.

A tone's colour is the commonest of its training pictures' commonest colours, white left out. Of a picture's pixels that
are within `NEAR` of a tone's colour, the largest share is nearest to its tone. Hair, outlines and clothes have colours
too, so that a tone is read in pictures that show none: what the check makes of real ones belongs beside its figures.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.errors import StageError

TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
CELL, NEAR, WHITE = 8, 60.0, 235
"""Levels of 256 that count as one colour; Euclidean distance in RGB; from which level of all three on it is paper."""
Pictures = NDArray[np.uint8]
T = TypeVar("T", bound=Hashable)


class Palette:
    """The colour check.

    Args:
        pictures: (n,H,W,3) uint8 of each tone, in the order of `TONES`.

    Raises:
        StageError: two tones have the same colour, as where the paper is not white.
    """

    def __init__(self, pictures: Sequence[Pictures]) -> None:
        colours = [_commonest(map(_commonest_colour, of_tone)) for of_tone in pictures]
        if len(set(colours)) < len(TONES):
            raise StageError(f"the colours of two tones are the same ({colours}): is the background white?")
        self.colours = np.array(colours, np.float64)

    def read(self, pictures: Pictures) -> list[str | None]:
        """The tone of each picture of (n,H,W,3) uint8; None where nothing is near any tone's colour."""
        return [self._read_one(picture) for picture in pictures]

    def _read_one(self, picture: Pictures) -> str | None:
        distances = np.linalg.norm(_drawn(picture)[:, None] - self.colours, axis=2)
        near = distances.argmin(axis=1)[distances.min(axis=1) < NEAR]
        return TONES[np.bincount(near).argmax()] if len(near) else None


def _drawn(picture: Pictures) -> NDArray[np.float64]:
    """The pixels (n,3) that are not paper; all where there are none."""
    pixels = picture.reshape(-1, 3).astype(np.float64)
    drawn = pixels[(pixels < WHITE).any(axis=1)]
    return drawn if len(drawn) else pixels


def _commonest_colour(picture: Pictures) -> tuple[int, ...]:
    """The middle of the commonest cell of colours."""
    cells = _drawn(picture).astype(int) // CELL * CELL + CELL // 2
    return _commonest(map(tuple, cells.tolist()))


def _commonest(found: Iterable[T]) -> T:
    return Counter(found).most_common(1)[0][0]
