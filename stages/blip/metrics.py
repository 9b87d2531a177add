"""How well pictures and captions are told apart and found: pure functions of scores."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


class Classification(NamedTuple):
    """Of the decision "these two belong together", all in [0,1]."""

    accuracy: float
    precision: float
    recall: float
    f1: float


def classification(related: Floats, unrelated: Floats, threshold: float) -> Classification:
    """Accuracy, precision, recall and F1 of calling a pair related when its score lies above `threshold`.

    Args:
        related: (n,) scores of pairs that belong together.
        unrelated: (m,) scores of pairs that do not; may be empty, precision is then 1 by construction.
    """
    hits, false_alarms = int((related > threshold).sum()), int((unrelated > threshold).sum())
    called = hits + false_alarms
    precision = hits / called if called else 0.0
    recall = hits / len(related)
    accuracy = (hits + len(unrelated) - false_alarms) / (len(related) + len(unrelated))
    f1 = 2 * hits / (called + len(related))
    return Classification(accuracy, precision, recall, f1)


def best_threshold(related: Floats, unrelated: Floats) -> float:
    """The threshold of the highest F1, halfway between two neighbouring scores; the middle one of equally good ones."""
    scores = np.unique(np.concatenate([related, unrelated]).astype(np.float64))
    below = scores[0] - 1e-6
    candidates = np.concatenate([[below], (scores[1:] + scores[:-1]) / 2])  # (t,)
    hits = len(related) - np.searchsorted(np.sort(related), candidates, side="right")
    false_alarms = len(unrelated) - np.searchsorted(np.sort(unrelated), candidates, side="right")
    f1 = 2 * hits / (hits + false_alarms + len(related))
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(candidates[best[len(best) // 2]])


def retrieval_ranks(text: Floats, image: Floats, image_index: Ints) -> NDArray[np.int64]:
    """Rank, from 1, of each caption's own picture among all distinct pictures by cosine; ties count against it.

    Args:
        text: (n,P) unit norm, one caption a row.
        image: (n,P) unit norm, the caption's picture.
        image_index: (n,) equal where the picture is the same.
    """
    _, first, own = np.unique(image_index, return_index=True, return_inverse=True)
    similarity = text @ image[first].T  # (n,m)
    target = similarity[np.arange(len(text)), own]
    ranks: NDArray[np.int64] = (similarity >= target[:, None]).sum(1).astype(np.int64)
    return ranks


def recall_at(ranks: Ints, k: int) -> float:
    """Share of ranks that are at most k, in [0,1]."""
    return float((ranks <= k).mean())


def unrelated_partners(image_index: Ints, captions: list[str], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each pair another pair of other picture and other caption, drawn evenly; -1 where none was found.

    Args:
        image_index: (n,) equal where the picture is the same.
        captions: n captions.
    """
    _, caption_index = np.unique(np.array([c.lower() for c in captions]), return_inverse=True)
    count = len(image_index)
    partners = rng.integers(count, size=count)
    for _ in range(200):
        same = (image_index == image_index[partners]) | (caption_index == caption_index[partners])
        if not same.any():
            break
        partners[same] = rng.integers(count, size=int(same.sum()))
    else:
        partners[same] = -1
    return partners


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], float], count: int, seed: int, resamples: int = 1000
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a statistic of `count` pairs.

    Args:
        statistic: row numbers (count,), drawn with replacement -> the statistic of those rows.
    """
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(count, size=count)) for _ in range(resamples)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
