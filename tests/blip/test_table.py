"""The table: every figure against what it is by hand, thresholds from val alone, and a reason where there is none."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from stages.blip.blip import Blip
from stages.blip.features import Features
from stages.blip.scores import KINDS, Negatives, PairScores
from stages.blip.smells import ROWS
from stages.blip.stage import measure
from stages.blip.table import NO_TEST, NO_VAL, build_table, caption_table, histograms
from stages.data import PreparedSet
from stages.metrics import Metric

DECISIONS = ("threshold", "accuracy", "precision", "recall", "f1", "roc_auc", "average_precision")
PAIR_ROWS = {
    *(f"{score}{hard}_{name}" for score in ("itm", "itc") for hard in ("", "_hard") for name in DECISIONS),
    *(
        f"{score}_similarity_{kind}_{name}"
        for score in ("itm", "itc")
        for kind in ("related", "unrelated", "hard")
        for name in ("mean", "median", "std")
    ),
    *(f"{way}_{name}" for way in ("text_to_image", "image_to_text") for name in ("r1", "r5", "r10", "median_rank")),
    *(f"published_{name}" for name in ("accuracy", "precision", "recall", "f1")),
}
CAPTION_ROWS = {
    *(f"caption_{name}" for name in ("meteor", "rouge1", "rouge2", "rougeL", "cider")),
    *(f"caption_bleu{order}{level}" for order in (1, 2, 3, 4) for level in ("", "_sentence")),
}
CONFUSIONS = {f"{score}_hard_accuracy/{name}" for score in ("itm", "itc") for name in ("ground", "patch")}


def made_up(**more: Any) -> PairScores:
    """Four pictures; the itc scores are the itm scores halved."""
    related = np.array([0.9, 0.8, 0.7, 0.3])
    shuffled, hard = np.array([0.1, 0.2, 0.6, 0.4]), np.array([0.85, 0.6, 0.2])
    scores = PairScores(
        pictures=np.arange(4),
        related={"itm": related, "itc": related / 2},
        shuffled=Negatives(np.arange(4), {"itm": shuffled, "itc": shuffled / 2}),
        hard=Negatives(np.array([0, 1, 3]), {"itm": hard, "itc": hard / 2}, ["colour", "count", "colour"]),
        text_to_image=np.array([1, 3, 6, 20]),
        image_to_text=np.array([1, 2, 11]),
    )
    return dataclasses.replace(scores, **more)


def other() -> PairScores:
    """Val pairs, all of whose thresholds are elsewhere: shuffled between 0.4 and 0.5, hard between 0.2 and 0.4."""
    related, shuffled, hard = np.array([0.5, 0.6, 0.9]), np.array([0.1, 0.3, 0.4]), np.array([0.1, 0.2])
    related_for_hard = {"itm": related, "itc": related / 2}
    return PairScores(
        pictures=np.arange(3),
        related=related_for_hard,
        shuffled=Negatives(np.arange(3), {"itm": shuffled, "itc": shuffled / 2}),
        hard=Negatives(np.array([0, 2]), {"itm": hard, "itc": hard / 2}, ["colour", "count"]),
        text_to_image=np.ones(3, dtype=np.int64),
        image_to_text=np.ones(3, dtype=np.int64),
    )


def values(table: dict[str, Metric]) -> dict[str, float | None]:
    return {name: row.value for name, row in table.items()}


@pytest.mark.parametrize(("score", "scale"), [("itm", 1.0), ("itc", 0.5)])
def test_figures_are_those_computed_by_hand(score: str, scale: float) -> None:
    found = values(build_table(made_up(), other(), seed=0))
    expected = {
        # val: 0.5, 0.6, 0.9 against 0.1, 0.3, 0.4; above 0.45 are 0.9, 0.8, 0.7 and 0.6 of the unrelated
        "_threshold": 0.45 * scale,
        "_accuracy": 6 / 8,
        "_precision": 3 / 4,
        "_recall": 3 / 4,
        "_f1": 3 / 4,
        "_roc_auc": (4 + 4 + 4 + 2) / 16,
        "_average_precision": (1 + 1 + 1 + 4 / 6) / 4,
        # val: against 0.1, 0.2; above 0.35 are 0.9, 0.8, 0.7 and 0.85, 0.6 of the hard ones
        "_hard_threshold": 0.35 * scale,
        "_hard_accuracy": 4 / 7,
        "_hard_precision": 3 / 5,
        "_hard_recall": 3 / 4,
        "_hard_f1": 2 * 3 / (5 + 4),
        "_hard_roc_auc": (3 + 2 + 2 + 1) / 12,
        "_hard_average_precision": (1 + 2 / 3 + 3 / 4 + 4 / 6) / 4,
        "_similarity_related_mean": 0.675 * scale,
        "_similarity_related_median": 0.75 * scale,
        "_similarity_related_std": float(np.sqrt((0.225**2 + 0.125**2 + 0.025**2 + 0.375**2) / 4)) * scale,
        "_similarity_unrelated_mean": 0.325 * scale,
        "_similarity_unrelated_median": 0.3 * scale,
        "_similarity_hard_median": 0.6 * scale,
        "_similarity_hard_mean": 0.55 * scale,
        "_hard_accuracy/colour": 1 / 2,  # of 0.85 and 0.2 one lies below
        "_hard_accuracy/count": 0.0,
    }
    assert {name: found[f"{score}{name}"] for name in expected} == pytest.approx(expected)


def test_retrieval_and_the_published_protocol_by_hand() -> None:
    table = build_table(made_up(), other(), seed=0)
    expected = {
        "text_to_image_r1": 1 / 4,
        "text_to_image_r5": 2 / 4,
        "text_to_image_r10": 3 / 4,
        "text_to_image_median_rank": 4.5,
        "image_to_text_r1": 1 / 3,
        "image_to_text_r5": 2 / 3,
        "image_to_text_r10": 2 / 3,
        "image_to_text_median_rank": 2.0,
        "published_accuracy": 3 / 4,
        "published_precision": 1.0,
        "published_recall": 3 / 4,
        "published_f1": 2 * 3 / (3 + 4),
    }
    assert {name: table[name].value for name in expected} == pytest.approx(expected)
    assert "among 3 test pictures" in table["text_to_image_r1"].protocol
    assert "among 4 test captions" in table["image_to_text_r1"].protocol
    assert "precision is 1 by construction" in table["published_precision"].protocol
    assert [table[name].n for name in ("text_to_image_r1", "image_to_text_r1", "published_f1")] == [4, 3, 4]


def test_every_figure_has_its_interval_and_its_samples() -> None:
    table = build_table(made_up(), other(), seed=0)
    assert set(table) == PAIR_ROWS | {
        f"{score}_hard_accuracy/{name}" for score in KINDS for name in ("colour", "count")
    }
    for name, row in table.items():
        assert row.value is not None and row.n > 0 and row.protocol, name
        if name.endswith("threshold"):
            assert row.ci95 is None and row.n == 3 and "val" in row.protocol
            continue
        if name == "published_precision":
            assert row.ci95 is None  # 1 by construction, whatever is resampled
            continue
        assert row.ci95 is not None and row.ci95.low <= row.value <= row.ci95.high, name
    assert (table["itm_f1"].n, table["itm_hard_f1"].n, table["itm_hard_accuracy/colour"].n) == (8, 7, 2)
    assert "drawn at random" in table["itm_f1"].protocol and "untrue in one attribute" in table["itm_hard_f1"].protocol
    assert build_table(made_up(), other(), seed=0) == table
    assert build_table(made_up(), other(), seed=1) != table  # of the bootstrap


def test_the_protocol_says_where_hard_captions_are_from() -> None:
    bare = dataclasses.replace(made_up().hard, attributes=None)
    table = build_table(made_up(hard=bare), other(), seed=0)
    assert "shares most words" in table["itm_hard_f1"].protocol and "attribute" not in table["itm_hard_f1"].protocol
    assert not any("hard_accuracy/" in name for name in table)


def test_thresholds_come_from_val_and_nothing_else_does() -> None:
    """Swapped, each has the other's threshold; with other val scores nothing but the decisions changes."""
    ours, swapped = build_table(made_up(), other(), seed=0), build_table(other(), made_up(), seed=0)
    own = build_table(made_up(), made_up(), seed=0)
    assert ours["itm_threshold"].value == pytest.approx(0.45) and swapped["itm_threshold"].value == pytest.approx(0.65)
    assert own["itm_threshold"].value == swapped["itm_threshold"].value
    changed = {name for name, row in ours.items() if row != own[name]}
    assert {"itm_threshold", "itm_precision", "itc_accuracy"} <= changed
    decided = ("_threshold", "_accuracy", "_precision", "_recall", "_f1")
    assert not any("average_precision" in name or "published" in name for name in changed)
    assert all(name.endswith(decided) or "_hard_accuracy/" in name for name in changed)


def test_histograms_count_every_pair_and_know_the_thresholds() -> None:
    found = histograms(made_up(), other())
    assert found.keys() == {"itm", "itc"}
    for score, scale in (("itm", 1.0), ("itc", 0.5)):
        edges = found[score]["edges"]
        assert len(edges) == 41 and edges == sorted(edges)
        for kind, count in (("related", 4), ("unrelated", 4), ("hard", 3)):
            assert len(found[score][kind]) == 40 and sum(found[score][kind]) == count
        assert found[score]["threshold"] == pytest.approx(0.45 * scale)
        assert found[score]["hard_threshold"] == pytest.approx(0.35 * scale)
    assert found["itm"]["edges"][0] == 0 and found["itm"]["edges"][-1] == 1
    assert found["itc"]["edges"][0] == 0.05 and found["itc"]["edges"][-1] == 0.45
    assert found["itm"]["related"][round(0.9 * 40) - 1 :].count(1) == 1  # 0.9 lies in one of the last bins
    assert histograms(None, other()) == {}
    assert histograms(made_up(), None)["itm"]["threshold"] is None


def test_scores_that_are_all_the_same_have_histograms_too() -> None:
    flat = {score: np.full(4, 0.5, np.float32) for score in KINDS}
    negatives = Negatives(np.arange(4), flat)
    found = histograms(made_up(related=flat, shuffled=negatives, hard=negatives), None)
    assert [sum(found["itc"][kind]) for kind in ("related", "unrelated", "hard")] == [4, 4, 4]


def test_without_test_pairs_every_figure_says_so() -> None:
    for val in (None, other()):
        table = build_table(None, val, seed=0)
        assert set(table) == PAIR_ROWS
        assert all(row.value is None and row.reason for row in table.values())
        assert {table["itm_f1"].reason, table["text_to_image_r1"].reason, table["published_f1"].reason} == {NO_TEST}


def test_without_val_pairs_only_what_needs_a_threshold_is_missing() -> None:
    table = build_table(made_up(), None, seed=0)
    missing = {name for name, row in table.items() if row.value is None}
    decided = ("threshold", "accuracy", "precision", "recall", "f1")
    assert missing == {
        *(f"{score}{hard}_{name}" for score in KINDS for hard in ("", "_hard") for name in decided),
        *(f"{score}_hard_accuracy/{name}" for score in KINDS for name in ("colour", "count")),
    }
    assert {table[name].reason for name in missing} == {NO_VAL}


def test_without_captions_that_are_not_true_what_needs_them_is_missing() -> None:
    none = Negatives(np.zeros(0, np.int64), {score: np.zeros(0) for score in KINDS})
    table = build_table(made_up(shuffled=none, hard=none), other(), seed=0)
    missing = {name for name, row in table.items() if row.value is None}
    assert missing == {
        *(f"{score}{hard}_{name}" for score in KINDS for hard in ("", "_hard") for name in DECISIONS),
        *(
            f"{score}_similarity_{kind}_{name}"
            for score in KINDS
            for kind in ("unrelated", "hard")
            for name in ("mean", "median", "std")
        ),
    }
    assert all(table[name].reason for name in missing)
    lacking = dataclasses.replace(other(), shuffled=none, hard=none)
    assert build_table(made_up(), lacking, seed=0)["itm_f1"].reason == NO_VAL
    assert sum(histograms(made_up(shuffled=none, hard=none), lacking)["itm"]["unrelated"]) == 0


def test_intervals_of_pictures_with_several_captions_are_as_wide_as_of_one_each() -> None:
    """Three captions a picture, scored alike, say no more of other pictures than one does."""
    rng = np.random.default_rng(0)
    thrice = np.repeat(np.arange(40), 3)
    scores = {"itm": rng.random(40), "itc": rng.random(40)}
    untrue = {"itm": rng.random(40) - 0.5, "itc": rng.random(40) - 0.5}

    def pairs(of: np.ndarray) -> PairScores:
        rows = np.arange(len(of))
        related, unrelated = ({name: found[of] for name, found in group.items()} for group in (scores, untrue))
        negatives = Negatives(rows, unrelated, ["colour"] * len(of))
        ranks = (10 * scores["itc"][of]).astype(np.int64) + 1
        return PairScores(of, related, negatives, negatives, ranks, ranks[np.unique(of, return_index=True)[1]])

    many, few = (build_table(pairs(of), other(), seed=0) for of in (thrice, np.arange(40)))
    for name, metric in many.items():
        if metric.value is not None and few[name].ci95 is not None:
            assert metric.ci95 == pytest.approx(few[name].ci95, abs=1e-9), name
            assert ("resampled together" in metric.protocol) is not name.startswith("image_to_text"), name
    assert sum(metric.ci95 is not None for metric in many.values()) > 40


def test_captions_are_scored_against_those_of_the_pictures() -> None:
    captions = ["a red patch on blue, left", "a green patch on red, right", "a blue patch on yellow, bottom"]
    same, wrong = (
        caption_table(captions, written, np.arange(3), 0) for written in (captions, captions[1:] + captions[:1])
    )
    assert set(same) == CAPTION_ROWS
    for name in ("caption_bleu4", "caption_rougeL", "caption_bleu1"):
        assert same[name].value == pytest.approx(1.0) and wrong[name].value is not None
        assert wrong[name].value < 0.9 and "real test pictures" in same[name].protocol  # type: ignore[operator]


@pytest.mark.parametrize("known", [False, True])
def test_the_table_of_a_small_set(
    blip: Blip, features: Features, dataset: PreparedSet, described: PreparedSet, known: bool
) -> None:
    measured = measure(blip, features, described if known else dataset, seed=0)
    table = measured.table
    assert set(table) == PAIR_ROWS | CAPTION_ROWS | set(ROWS) | (CONFUSIONS if known else set())
    unavailable = {name for name, row in table.items() if row.value is None}
    assert unavailable == set(ROWS)
    assert table["itm_f1"].n == table["itm_hard_f1"].n == 12  # as many unrelated pairs as related
    assert table["text_to_image_r10"].value == 1.0  # 6 pictures
    assert ("attribute" in table["itc_hard_f1"].protocol) == known
    assert measured.histograms["itc"]["threshold"] == table["itc_threshold"].value
    assert measure(blip, features, described if known else dataset, seed=0) == measured


def test_a_set_without_test_and_val_has_a_table_of_reasons(
    blip: Blip, features: Features, dataset: PreparedSet
) -> None:
    train = dataclasses.replace(dataset, records=[one for one in dataset.records if one.split == "train"])
    measured = measure(blip, features, train, seed=0)
    assert measured.histograms == {}
    assert set(measured.table) >= PAIR_ROWS | set(ROWS)
    assert all(row.value is None and row.reason for row in measured.table.values())
