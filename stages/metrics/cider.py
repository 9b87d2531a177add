"""CIDEr-D (Vedantam et al., arXiv:1411.5726): captions weighed by what tells one reference from the others.

As the authors' code for the COCO captions computes it: n-gram counts rather than their shares (clipping makes that a
difference), 0 where a caption has no weight at an order.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from stages.metrics.captions import tokenize

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0  # words
SCALE = 10.0
NGram = tuple[str, ...]


def cider(references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """CIDEr-D (n,) in [0,10] of each hypothesis and its one reference, n-grams weighed by all n references.

    A reference itself scores 10 if each order has something that not all references have. An order that a caption is
    too short for, or at which all references have the same n-grams, counts as 0: three words of the reference reach
    7.5, and where there is but one reference everything scores 0.
    """
    wanted, own = [tokenize(text) for text in references], [tokenize(text) for text in hypotheses]
    excess = np.array([len(h) - len(r) for r, h in zip(wanted, own, strict=True)], dtype=np.float64)
    similarity = np.array([_similarities(wanted, own, order) for order in ORDERS])  # (4,n)
    scores: np.ndarray = SCALE * np.exp(-(excess**2) / (2 * SIGMA**2)) * similarity.mean(axis=0)
    return scores


def ngrams(words: Sequence[str], order: int) -> Counter[NGram]:
    """How often each run of `order` words occurs."""
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def rarity(documents: Sequence[Mapping[NGram, int]]) -> dict[NGram, float]:
    """log(documents / documents with it) of each n-gram, from 0 for one that all have (inverse document frequency)."""
    found = Counter(ngram for counts in documents for ngram in counts)
    return {ngram: math.log(len(documents) / frequency) for ngram, frequency in found.items()}


def clipped_cosine(reference: Mapping[NGram, float], hypothesis: Mapping[NGram, float]) -> float:
    """min(hypothesis, reference) . reference / (|hypothesis| |reference|), in [0,1]; 0 where one has no weight."""
    norms = math.hypot(*reference.values()) * math.hypot(*hypothesis.values())
    if norms == 0:
        return 0.0
    shared = sum(
        min(weight, reference.get(ngram, 0.0)) * reference.get(ngram, 0.0) for ngram, weight in hypothesis.items()
    )
    return shared / norms


def _similarities(references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]], order: int) -> list[float]:
    """The clipped cosine of each pair's weighed n-grams of one order."""
    documents = [ngrams(words, order) for words in references]
    weights = rarity(documents)
    unseen = math.log(max(1, len(documents)))  # as if one reference had it

    def weigh(counts: Mapping[NGram, int]) -> dict[NGram, float]:
        return {ngram: count * weights.get(ngram, unseen) for ngram, count in counts.items()}

    return [
        clipped_cosine(weigh(document), weigh(ngrams(words, order)))
        for document, words in zip(documents, hypotheses, strict=True)
    ]
