"""How well pictures and captions are told apart and found: pure functions of scores."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
_ROWS = 1000  # of a similarity matrix that are held at a time


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


def roc_auc(related: Floats, unrelated: Floats) -> float:
    """Area under the ROC curve, in [0,1]: the chance that a related pair scores above an unrelated one; a tie is half.

    Computed from ranks (Mann and Whitney 1947). NaN without unrelated pairs, as a resample may be.
    """
    if not len(unrelated):
        return math.nan
    ordered = np.sort(unrelated)
    below, not_above = (np.searchsorted(ordered, related, side=side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(unrelated))


def average_precision(related: Floats, unrelated: Floats) -> float:
    """Average precision, in (0,1]: mean over related pairs of the precision at their score, ties called together."""
    related, unrelated = np.sort(related), np.sort(unrelated)
    hits = len(related) - np.searchsorted(related, related, side="left")
    false_alarms = len(unrelated) - np.searchsorted(unrelated, related, side="left")
    return float((hits / (hits + false_alarms)).mean())


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


def text_to_image_ranks(text: Floats, image: Floats, image_index: Ints) -> NDArray[np.int64]:
    """Rank, from 1, of each caption's own picture among all distinct pictures by cosine; ties count against it.

    Args:
        text: (n,P) unit norm, one caption a row.
        image: (n,P) unit norm, the caption's picture.
        image_index: (n,) equal where the picture is the same.
    """
    _, first, own = np.unique(image_index, return_index=True, return_inverse=True)
    pictures = image[first]  # (m,P)
    ranks = np.empty(len(text), dtype=np.int64)
    for start in range(0, len(text), _ROWS):
        rows = slice(start, start + _ROWS)
        similarity = text[rows] @ pictures.T  # (r,m)
        target = np.take_along_axis(similarity, own[rows, None], axis=1)
        ranks[rows] = (similarity >= target).sum(1)
    return ranks


def image_to_text_ranks(text: Floats, image: Floats, image_index: Ints) -> NDArray[np.int64]:
    """Rank, from 1, of the best of each distinct picture's own captions among those of all others by cosine.

    Ties count against it; a picture's further captions do not stand in the way of its best.

    Args:
        text, image, image_index: as for `text_to_image_ranks`.

    Returns:
        (m,) int64, by ascending picture.
    """
    _, first, own = np.unique(image_index, return_index=True, return_inverse=True)
    ranks = np.empty(len(first), dtype=np.int64)
    for start in range(0, len(first), _ROWS):
        places = np.arange(start, min(start + _ROWS, len(first)))
        similarity = image[first[places]] @ text.T  # (r,n)
        mine = own[None] == places[:, None]
        best = np.where(mine, similarity, -np.inf).max(1, keepdims=True)
        ranks[places] = 1 + ((similarity >= best) & ~mine).sum(1)
    return ranks


def recall_at(ranks: Ints, k: int) -> float:
    """Share of ranks that are at most k, in [0,1]."""
    return float((ranks <= k).mean())


def macro_f1(truth: NDArray[np.bool_], called: NDArray[np.bool_]) -> float:
    """Mean of the F1 of the two classes, in [0,1], as MUSTI's subtask 1 is scored; 0 for a class that neither has."""
    scores = []
    for kind in (True, False):
        hits = int(((truth == kind) & (called == kind)).sum())
        named = int((truth == kind).sum()) + int((called == kind).sum())
        scores.append(2 * hits / named if named else 0.0)
    return sum(scores) / 2


def number_texts(texts: Iterable[str]) -> NDArray[np.int64]:
    """A number (n,) for each of n texts, equal where the texts are."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(text, len(seen)) for text in texts], dtype=np.int64)


def unrelated_partners(image_index: Ints, content: Sequence[str], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each pair another pair of other picture and other content, drawn evenly; -1 where none was found.

    Args:
        image_index: (n,) equal where the picture is the same.
        content: n texts, equal where two captions say the same.
    """
    content_index = number_texts(content)
    count = len(image_index)
    partners = rng.integers(count, size=count)
    for _ in range(200):
        same = (image_index == image_index[partners]) | (content_index == content_index[partners])
        if not same.any():
            break
        partners[same] = rng.integers(count, size=int(same.sum()))
    else:
        partners[same] = -1
    return partners


def nearest_captions(captions: Sequence[str], apart: Sequence[str]) -> NDArray[np.int64]:
    """For each caption the one of the others that shares most of its words, rare words counting more.

    Words as `stages.metrics` reads them, cosine of TF-IDF; of equally near ones the first. Captions of the very same
    words, in whatever order, are no partners. No network has a say in it.

    Args:
        captions: n captions.
        apart: n texts, equal where two captions must not be partners.

    Returns:
        (n,) int64; -1 where no other caption is left.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    from stages.metrics.captions import tokenize

    lines = [" ".join(tokenize(caption)) for caption in captions]
    partners = np.full(len(lines), -1, dtype=np.int64)
    if not any(lines):
        return partners
    groups, words = number_texts(apart), number_texts(" ".join(sorted(line.split())) for line in lines)
    vectors: Any = TfidfVectorizer(analyzer=str.split).fit_transform(lines)  # (n,words), sparse
    for start in range(0, len(lines), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(lines)))
        nearness = (vectors[rows] @ vectors.T).toarray()  # (r,n)
        nearness[(groups[rows, None] == groups) | (words[rows, None] == words)] = -1
        best = nearness.argmax(1)
        partners[rows] = np.where(nearness[np.arange(len(rows)), best] >= 0, best, -1)
    return partners
