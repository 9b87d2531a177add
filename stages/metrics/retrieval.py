"""R-precision: whether a picture's own caption fits it best among others' (AttnGAN, arXiv:1711.10485)."""

from collections.abc import Sequence

import numpy as np

CANDIDATES = 100
"""Captions that a picture is compared with, its own among them."""
_SAME = 1e-6  # cosines this near are taken for equal: two captions that are read alike


def r_precision(
    images: np.ndarray,
    captions: np.ndarray,
    own: np.ndarray,
    others: Sequence[np.ndarray],
    seed: int,
    candidates: int = CANDIDATES,
) -> np.ndarray:
    """1 where the own caption has the highest cosine among the candidates, 0 where it has not, (n,) in [0,1].

    Between t captions that are equally high it is decided by lot, which is 1/t: what is read alike is found by chance.

    Args:
        images: (n,P), unit norm.
        captions: (m,P), unit norm, of m different captions.
        own: (n,) int64, the row of each picture's caption in `captions`.
        others: for each of the n pictures the rows, int64, of the captions that are not true of it.
        seed: of the draw of the other candidates, without repeats, for each picture anew.

    Raises:
        ValueError: with some picture there are fewer captions than candidates.
    """
    fewest = min(map(len, others), default=candidates) + 1
    if fewest < candidates:
        raise ValueError(f"r_precision needs {candidates} captions of which one is true, got {fewest}")
    rng = np.random.default_rng(seed)
    found = np.zeros(len(images))
    for row, (image, place, untrue) in enumerate(zip(images, own, others, strict=True)):
        drawn = untrue[rng.choice(len(untrue), candidates - 1, replace=False)]
        cosines = captions[[place, *drawn]].astype(np.float64) @ image.astype(np.float64)
        if cosines[0] > cosines.max() - _SAME:
            found[row] = 1 / (cosines > cosines[0] - _SAME).sum()
    return found
