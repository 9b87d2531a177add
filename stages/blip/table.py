"""The table of a BLIP on held-out pairs: related against as many unrelated ones; the published protocol beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from stages.blip.blip import Blip
from stages.blip.metrics import (
    Classification,
    best_threshold,
    bootstrap_interval,
    classification,
    recall_at,
    retrieval_ranks,
    unrelated_partners,
)
from stages.data import PreparedSet, Split, to_tensor

Table = dict[str, dict[str, Any]]
Rows = NDArray[np.int64]
_BATCH = 100
_STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda scores: float(scores.mean()),
    "median": lambda scores: float(np.median(scores)),
    "std": lambda scores: float(scores.std()),
}
_SCORES = {"itm": "matching probability (ITM)", "itc": "cosine of the pooled embeddings (ITC)"}


@dataclass(frozen=True)
class PairScores:
    """Scores of a split's n pairs, and of m of its captions each with a picture that is not its own."""

    related: dict[str, np.ndarray]
    """(n,) under `itm` the matching probability in [0,1], under `itc` the cosine in [-1,1]."""
    unrelated: dict[str, np.ndarray]
    """(m,) the same; m is n but for captions to which every picture belongs."""
    ranks: np.ndarray
    """(n,) int64 rank, from 1, of the caption's own picture by cosine among the split's `pictures`."""
    pictures: int
    """Number of distinct pictures."""


def score_pairs(blip: Blip, dataset: PreparedSet, split: Split, seed: int) -> PairScores:
    """Scores a split's pairs, and each of its captions with an unrelated picture of the split drawn at random."""
    partners = unrelated_partners(split.image_rows, split.captions, np.random.default_rng(seed))
    with_partner = np.flatnonzero(partners >= 0)
    images, texts = _embed(blip, dataset, split)
    itm_related = _match(blip, dataset, split.image_rows, split.captions, f"blip {split.name} related pairs")
    itm_unrelated = _match(
        blip,
        dataset,
        split.image_rows[partners[with_partner]],
        [split.captions[row] for row in with_partner],
        f"blip {split.name} unrelated pairs",
    )
    return PairScores(
        related={"itm": itm_related, "itc": (images * texts).sum(1)},
        unrelated={"itm": itm_unrelated, "itc": (images[partners[with_partner]] * texts[with_partner]).sum(1)},
        ranks=retrieval_ranks(texts, images, split.image_rows),
        pictures=len(split.unique_images),
    )


def _embed(blip: Blip, dataset: PreparedSet, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Pooled embeddings (n,P) of a split's pictures and captions, pair by pair."""
    images, texts = [], []
    for start in range(0, len(split), _BATCH):
        rows = split.image_rows[start : start + _BATCH]
        images.append(blip.encode_images(to_tensor(dataset.images[rows])))
        texts.append(blip.encode_text(split.captions[start : start + _BATCH]).pooled)
    return torch.cat(images).float().cpu().numpy(), torch.cat(texts).float().cpu().numpy()


def _match(blip: Blip, dataset: PreparedSet, image_rows: Rows, captions: list[str], desc: str) -> np.ndarray:
    """Matching probability (n,) of pictures and captions, row by row."""
    scores = [np.zeros(0, np.float32)]
    for start in tqdm(range(0, len(captions), _BATCH), desc=desc, unit="batch", leave=False, mininterval=0.5):
        image = to_tensor(dataset.images[image_rows[start : start + _BATCH]])
        scores.append(blip.match(image, captions[start : start + _BATCH]).float().cpu().numpy())
    return np.concatenate(scores)


def build_table(test: PairScores | None, val: PairScores | None, seed: int) -> Table:
    """Every figure as `{value, n, ci95, protocol}`, or `{value: null, ..., reason}` where it cannot be had.

    Args:
        test: what the figures are of; None when there is no test split.
        val: what the thresholds are chosen on; None when there is no val split.
    """
    table: Table = {}
    for score in _SCORES:
        table |= _classification_rows(score, test, val, seed)
        table |= _distribution_rows(score, test, seed)
    return table | _retrieval_rows(test, seed) | _published_rows(test, seed)


def _classification_rows(score: str, test: PairScores | None, val: PairScores | None, seed: int) -> Table:
    names = [f"{score}_{name}" for name in ("threshold", *Classification._fields)]
    if test is None or not len(test.unrelated[score]):
        return {name: _unavailable("there are no unrelated pairs among the test pairs") for name in names}
    if val is None or not len(val.unrelated[score]):
        return {name: _unavailable("there are no val pairs to choose the threshold on") for name in names}
    threshold = best_threshold(val.related[score], val.unrelated[score])
    related, unrelated = test.related[score], test.unrelated[score]
    protocol = f"test pairs against as many unrelated ones, {_SCORES[score]}, threshold of the best F1 on val"
    chosen = {"value": threshold, "n": len(val.related[score]), "ci95": None, "protocol": "best F1 on val pairs"}
    table: Table = {f"{score}_threshold": chosen}
    for place, name in enumerate(Classification._fields):

        def of_rows(rows: Rows, place: int = place) -> float:
            return classification(related[rows], unrelated[rows % len(unrelated)], threshold)[place]

        value = classification(related, unrelated, threshold)[place]
        table[f"{score}_{name}"] = _row(value, of_rows, len(related), protocol, seed) | {"n_unrelated": len(unrelated)}
    return table


def _distribution_rows(score: str, test: PairScores | None, seed: int) -> Table:
    table: Table = {}
    for kind in ("related", "unrelated"):
        scores = np.zeros(0) if test is None else getattr(test, kind)[score]
        for name, statistic in _STATISTICS.items():
            key = f"{score}_similarity_{kind}_{name}"
            if not len(scores):
                table[key] = _unavailable(f"there are no {kind} test pairs")
                continue

            def of_rows(rows: Rows, scores: np.ndarray = scores, statistic: Any = statistic) -> float:
                return float(statistic(scores[rows]))

            protocol = f"{_SCORES[score]} of {kind} test pairs, {name}"
            table[key] = _row(statistic(scores), of_rows, len(scores), protocol, seed)
    return table


def _retrieval_rows(test: PairScores | None, seed: int) -> Table:
    table: Table = {}
    for k in (1, 5, 10):
        if test is None:
            table[f"text_to_image_r{k}"] = _unavailable("there are no test pairs")
            continue
        ranks = test.ranks

        def of_rows(rows: Rows, k: int = k, ranks: np.ndarray = ranks) -> float:
            return recall_at(ranks[rows], k)

        protocol = f"caption's own picture among the first {k} of {test.pictures} test pictures by cosine (ITC)"
        table[f"text_to_image_r{k}"] = _row(recall_at(ranks, k), of_rows, len(ranks), protocol, seed)
    return table


def _published_rows(test: PairScores | None, seed: int) -> Table:
    """The protocol of the published table: no unrelated pair in it, so that precision is 1 by construction."""
    table: Table = {}
    for place, name in enumerate(Classification._fields):
        if test is None:
            table[f"published_{name}"] = _unavailable("there are no test pairs")
            continue
        related = test.related["itm"]

        def of_rows(rows: Rows, place: int = place, related: np.ndarray = related) -> float:
            return classification(related[rows], np.zeros(0), 0.5)[place]

        protocol = f"as published: related pairs only, {_SCORES['itm']} > 50 %; precision is 1 by construction"
        value = classification(related, np.zeros(0), 0.5)[place]
        table[f"published_{name}"] = _row(value, of_rows, len(related), protocol, seed)
    return table


def _row(value: float, of_rows: Callable[[Rows], float], count: int, protocol: str, seed: int) -> dict[str, Any]:
    low, high = bootstrap_interval(of_rows, count, seed)
    return {"value": float(value), "n": count, "ci95": [low, high], "protocol": protocol}


def _unavailable(reason: str) -> dict[str, Any]:
    return {"value": None, "n": 0, "ci95": None, "protocol": None, "reason": reason}
