"""Shifted views: train pictures moved by a few pixels, so that there are more codes to learn from."""

import numpy as np

VIEWS = "train-views"
"""Split of the store that holds them: all train pairs in order, once for each view."""


def shift_pictures(pictures: np.ndarray, numbers: np.ndarray, view: int, shift: int, seed: int) -> np.ndarray:
    """Pictures (B,H,W,3) uint8, each moved by up to `shift` pixels to any side, its border repeated into the gap.

    Args:
        numbers: (B,) number of each picture; with `view` and `seed` it settles the move.
    """
    height, width = pictures.shape[1:3]
    padded = np.pad(pictures, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    moved = np.empty_like(pictures)
    for place, number in enumerate(numbers.tolist()):
        down, right = np.random.default_rng((seed, view, number)).integers(0, 2 * shift + 1, size=2)
        moved[place] = padded[place, down : down + height, right : right + width]
    return moved
