"""The table of a BLIP on held-out pairs, every figure with its protocol; that of the published table beside it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from stages.blip.metrics import (
    Classification,
    average_precision,
    best_threshold,
    classification,
    recall_at,
    roc_auc,
)
from stages.blip.scores import KINDS, Negatives, PairScores, Rows
from stages.metrics import (
    TABLE_REPEATS,
    Metric,
    Resampling,
    Table,
    bootstrap_rows,
    caption_scores,
    find_thesaurus,
    mean_metric,
)

_BINS = 40
_RANKS = (1, 5, 10)
_SCORES = {"itm": "matching probability (ITM)", "itc": "cosine of the pooled embeddings (ITC)"}
_STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda scores: float(scores.mean()),
    "median": lambda scores: float(np.median(scores)),
    "std": lambda scores: float(scores.std()),
}
_AREAS = {"roc_auc": roc_auc, "average_precision": average_precision}
_CAPTIONED = "BLIP's greedy captions of real test pictures against their own captions, one reference each"
_PUBLISHED = f"the published rule: related pairs only, {_SCORES['itm']} > 50 %; precision is 1 by construction"
NO_TEST = "there are no test pairs"
NO_VAL = "there are no val pairs to choose the threshold on"


def build_table(test: PairScores | None, val: PairScores | None, seed: int) -> Table:
    """How well BLIP tells pairs apart and finds them.

    Args:
        test: what the figures are of; None when there is no test split.
        val: what the thresholds are chosen on; None when there is no val split.
        seed: of the bootstrap.
    """
    resampling = Resampling(TABLE_REPEATS, seed)
    table: Table = {}
    for score in KINDS:
        for prefix, kind in ((score, "shuffled"), (f"{score}_hard", "hard")):
            table |= _decision_rows(prefix, score, kind, test, val, resampling)
        table |= _distribution_rows(score, test, resampling)
    table |= _confusion_rows(test, val, resampling)
    return table | _retrieval_rows(test, resampling) | _published_rows(test, resampling)


def caption_table(references: list[str], written: list[str], pictures: Rows, seed: int) -> Table:
    """BLEU, METEOR, ROUGE and CIDEr-D of BLIP's captions: the ceiling of what captions of generated pictures can score.

    Args:
        references: n captions of real pictures.
        written: n captions by BLIP of the same pictures.
        pictures: (n,) equal where captions are of the same picture.
    """
    resampling = Resampling(TABLE_REPEATS, seed).of_pictures(pictures)
    scores = caption_scores(references, written, find_thesaurus(), resampling, _CAPTIONED)
    return {f"caption_{name}": metric for name, metric in scores.items()}


def histograms(test: PairScores | None, val: PairScores | None) -> dict[str, Any]:
    """For each score the `edges` of its bins and how many `related`, `unrelated` and `hard` test pairs fall in each,
    with the thresholds."""
    if test is None:
        return {}
    found: dict[str, Any] = {}
    for score in KINDS:
        groups = {"related": test.related, "unrelated": test.shuffled.scores, "hard": test.hard.scores}
        everything = np.concatenate([group[score] for group in groups.values()])
        low, high = (0.0, 1.0) if score == "itm" else (float(everything.min()), float(everything.max()))
        edges = np.linspace(low, high, _BINS + 1)
        counts = {name: np.histogram(group[score], edges)[0].tolist() for name, group in groups.items()}
        thresholds = {"threshold": _threshold(score, "shuffled", val), "hard_threshold": _threshold(score, "hard", val)}
        found[score] = {"edges": edges.tolist(), **counts, **thresholds}
    return found


def _negatives(scores: PairScores, kind: str) -> Negatives:
    return scores.hard if kind == "hard" else scores.shuffled


def _threshold(score: str, kind: str, val: PairScores | None) -> float | None:
    """The threshold of the best F1 on val; None where there is nothing to choose it on."""
    if val is None or not len(_negatives(val, kind).rows):
        return None
    return best_threshold(val.related[score], _negatives(val, kind).scores[score])


def _what(kind: str, scores: PairScores) -> str:
    """What the captions are that are not true of their pictures."""
    if kind == "shuffled":
        return "as many with the caption of another picture, drawn at random"
    if scores.hard.attributes is not None:
        return "as many with a caption that is untrue in one attribute"
    return "as many with the caption of another picture that shares most words"


def _decision_rows(
    prefix: str, score: str, kind: str, test: PairScores | None, val: PairScores | None, resampling: Resampling
) -> Table:
    """Accuracy, precision, recall, F1, ROC-AUC and average precision, and the threshold of the first four."""
    names = ("threshold", *Classification._fields, *_AREAS)
    if test is None or not len(_negatives(test, kind).rows):
        reason = NO_TEST if test is None else "no test picture has a caption that is not true of it"
        return {f"{prefix}_{name}": Metric.unavailable(reason, f"test pairs, {_SCORES[score]}") for name in names}
    negatives, related = _negatives(test, kind), test.related[score]
    unrelated = negatives.scores[score]
    own_negative = np.full(len(related), -1)
    own_negative[negatives.rows] = np.arange(len(unrelated))
    protocol = f"test pairs and {_what(kind, test)}, {_SCORES[score]}"

    def metric(statistic: Callable[[np.ndarray, np.ndarray], float], how: str) -> Metric:
        def of_pairs(rows: Rows) -> float:  # a pair is drawn with the caption that is not true of its picture
            partners = own_negative[rows]
            return statistic(related[rows], unrelated[partners[partners >= 0]])

        drawn = resampling.of_pictures(test.pictures)
        interval = bootstrap_rows(of_pairs, len(related), drawn)
        count = len(related) + len(unrelated)
        return Metric(statistic(related, unrelated), count, interval, drawn.said_of(f"{protocol}{how}"))

    table = {f"{prefix}_{name}": metric(area, "") for name, area in _AREAS.items()}
    threshold = _threshold(score, kind, val)
    if threshold is None:
        decisions = {name: Metric.unavailable(NO_VAL, protocol) for name in ("threshold", *Classification._fields)}
    else:
        how = ", threshold of the best F1 on val"
        decisions = {
            "threshold": Metric(threshold, 0 if val is None else len(val.related[score]), None, "best F1 on val")
        }
        for place, name in enumerate(Classification._fields):
            decisions[name] = metric(lambda r, u, place=place: classification(r, u, threshold)[place], how)  # type: ignore[misc]
    return {f"{prefix}_{name}": value for name, value in decisions.items()} | table


def _confusion_rows(test: PairScores | None, val: PairScores | None, resampling: Resampling) -> Table:
    """For each attribute the share of captions untrue in it that are called unrelated."""
    if test is None or test.hard.attributes is None:
        return {}
    table: Table = {}
    for score in KINDS:
        threshold = _threshold(score, "hard", val)
        for attribute in sorted(set(test.hard.attributes)):
            chosen = np.array([known == attribute for known in test.hard.attributes])
            protocol = f"captions untrue in the attribute alone that are called unrelated, {_SCORES[score]}"
            if threshold is None:
                metric = Metric.unavailable(NO_VAL, protocol)
            else:
                drawn = resampling.of_pictures(test.pictures[test.hard.rows[chosen]])
                metric = mean_metric(test.hard.scores[score][chosen] <= threshold, protocol, drawn)
            table[f"{score}_hard_accuracy/{attribute}"] = metric
    return table


def _distribution_rows(score: str, test: PairScores | None, resampling: Resampling) -> Table:
    """Mean, median and deviation of the scores of each kind of pair."""
    groups = {"related": None, "unrelated": None, "hard": None} if test is None else {
        "related": (test.related[score], test.pictures),
        "unrelated": (test.shuffled.scores[score], test.pictures[test.shuffled.rows]),
        "hard": (test.hard.scores[score], test.pictures[test.hard.rows]),
    }  # fmt: skip
    table: Table = {}
    for kind, found in groups.items():
        for name, statistic in _STATISTICS.items():
            protocol = f"{_SCORES[score]} of {kind} test pairs, {name}"
            if found is None or not len(found[0]):
                metric = Metric.unavailable(f"there are no {kind} test pairs", protocol)
            else:
                scores, pictures = found
                metric = _of_samples(scores, statistic, protocol, resampling.of_pictures(pictures))
            table[f"{score}_similarity_{kind}_{name}"] = metric
    return table


def _retrieval_rows(test: PairScores | None, resampling: Resampling) -> Table:
    """R@1, R@5, R@10 and the median rank, both ways."""
    table: Table = {}
    for way, what in (
        ("text_to_image", "caption's own picture among {pictures} test pictures by cosine (ITC)"),
        ("image_to_text", "best of a picture's own captions among {captions} test captions by cosine (ITC)"),
    ):
        statistics: dict[str, Callable[[np.ndarray], float]] = {f"r{k}": partial(recall_at, k=k) for k in _RANKS}
        statistics["median_rank"] = lambda ranks: float(np.median(ranks))
        for name, statistic in statistics.items():
            if test is None:
                table[f"{way}_{name}"] = Metric.unavailable(NO_TEST, way.replace("_", " "))
                continue
            sizes = {"pictures": len(test.image_to_text), "captions": len(test.text_to_image)}
            protocol = f"rank of a {what.format(**sizes)}"
            drawn = resampling.of_pictures(test.pictures) if way == "text_to_image" else resampling
            table[f"{way}_{name}"] = _of_samples(getattr(test, way), statistic, protocol, drawn)
    return table


def _published_rows(test: PairScores | None, resampling: Resampling) -> Table:
    if test is None:
        return {f"published_{name}": Metric.unavailable(NO_TEST, _PUBLISHED) for name in Classification._fields}
    table = published_table(test.related["itm"], resampling.of_pictures(test.pictures))
    return {f"published_{name}": table[name] for name in Classification._fields}


def published_table(related: np.ndarray, resampling: Resampling) -> Table:
    """The published table's protocol: no unrelated pair in it, so that precision is 1 by construction.

    `accuracy`, `precision`, `recall`, `f1`, and `similarity_` with `mean`, `median` and `std`.

    Args:
        related: (n,) matching probabilities of pairs that belong together.
    """
    decisions = {
        name: _of_samples(
            related,
            lambda scores, place=place: classification(scores, np.zeros(0), 0.5)[place],  # type: ignore[misc]
            _PUBLISHED,
            resampling,
        )
        for place, name in enumerate(Classification._fields)
    }
    protocol = f"{_SCORES['itm']} of related pairs"
    return decisions | {
        f"similarity_{name}": _of_samples(related, statistic, f"{protocol}, {name}", resampling)
        for name, statistic in _STATISTICS.items()
    }


def _of_samples(
    samples: np.ndarray, statistic: Callable[[np.ndarray], float], protocol: str, resampling: Resampling
) -> Metric:
    interval = bootstrap_rows(lambda rows: statistic(samples[rows]), len(samples), resampling)
    return Metric(float(statistic(samples)), len(samples), interval, resampling.said_of(protocol))
