"""MUSTI's subtask 1 on a made-up set of labelled pairs whose label can be read from the embeddings of the passages."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.blip.blip import Blip
from stages.blip.features import Features
from stages.blip.smells import ROWS, labelled_pairs, smell_table
from stages.data import PreparedSet

WORDS = ("red", "green", "blue", "yellow", "patch", "left", "right", "old", "master", "style")
PASSAGES = 6  # of each picture


@pytest.fixture
def pairs(blip: Blip, dataset: PreparedSet) -> list[dict[str, Any]]:
    """Six passages of every picture, each YES where its embedding lies on one side of a plane.

    Those of nearby embeddings are left out, so that a plane can be found from a hundred and a half of them.
    """
    rng = np.random.default_rng(0)
    passages = list(dict.fromkeys(" ".join(rng.choice(WORDS, 5)) for _ in range(900)))
    embedded = blip.encode_text(passages).pooled.numpy()
    side = (embedded - embedded.mean(0)) @ np.linalg.svd(embedded - embedded.mean(0), full_matrices=False)[2][0]
    apart = np.argsort(np.abs(side))[-40 * PASSAGES :]
    rng.shuffle(apart)
    return [
        {
            "image": f"{place // PASSAGES}.png",
            "text": passages[row],
            "subtask1_label": "YES" if side[row] > 0 else "NO",
            "official_split": "train",
        }
        for place, row in enumerate(apart)
    ]


def with_pairs(dataset: PreparedSet, folder: Path, pairs: list[dict[str, Any]]) -> PreparedSet:
    lines = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
    (folder / "pairs.jsonl").write_text(lines, encoding="utf-8")
    return dataclasses.replace(dataset, directory=folder)


def test_a_label_that_the_embeddings_tell_is_found_by_the_probe_and_not_by_its_control(
    blip: Blip, features: Features, dataset: PreparedSet, pairs: list[dict[str, Any]], tmp_path: Path
) -> None:
    musti = with_pairs(dataset, tmp_path, pairs)
    table = smell_table(blip, features, musti, seed=0)
    assert tuple(table) == ROWS
    figures = {name: row.value for name, row in table.items()}
    assert figures["smell_probe_macro_f1"] is not None and figures["smell_probe_macro_f1"] > 0.9
    shuffled = [smell_table(blip, features, musti, seed)["smell_probe_shuffled_macro_f1"].value for seed in range(4)]
    assert 0.25 < np.mean([value for value in shuffled if value is not None]) < 0.7
    for row in table.values():
        assert row.n == 6 * PASSAGES and row.value is not None
        assert row.ci95 is None or row.ci95.low <= row.value <= row.ci95.high
        assert row.ci95 is not None or row.value == 1  # none is answered wrongly
        assert "subtask1_label" in row.protocol
    assert "shuffled" in table["smell_probe_shuffled_macro_f1"].protocol
    assert smell_table(blip, features, musti, seed=0) == table


def test_scores_and_majority_answer_as_written_out(
    blip: Blip, features: Features, dataset: PreparedSet, pairs: list[dict[str, Any]], tmp_path: Path
) -> None:
    """The threshold is that of the best macro F1 on val, and the majority that of train."""
    for pair in pairs[: 28 * PASSAGES : 3]:
        pair["subtask1_label"] = "NO"  # most of train
    musti = with_pairs(dataset, tmp_path, pairs)
    table = smell_table(blip, features, musti, seed=0)
    scored = {}
    for split, rows in (("val", slice(28 * PASSAGES, 34 * PASSAGES)), ("test", slice(34 * PASSAGES, None))):
        chosen = pairs[rows]
        pictures = np.array([int(pair["image"].removesuffix(".png")) for pair in chosen])
        embedded = blip.encode_text([pair["text"] for pair in chosen]).pooled.numpy()
        cosine = (features.image_pooled[pictures] * embedded).sum(1)
        scored[split] = cosine, np.array([pair["subtask1_label"] == "YES" for pair in chosen])

    def macro(truth: np.ndarray, called: np.ndarray) -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(truth, called, average="macro", zero_division=0.0))

    cosine, truth = scored["val"]
    candidates = [cosine.min() - 1, *((np.sort(cosine)[1:] + np.sort(cosine)[:-1]) / 2)]
    best = max(candidates, key=lambda threshold: macro(truth, cosine > threshold))
    cosine, truth = scored["test"]
    assert table["smell_itc_macro_f1"].value == pytest.approx(macro(truth, cosine > best))
    assert table["smell_majority_macro_f1"].value == pytest.approx(macro(truth, np.zeros(len(truth), dtype=bool)))


def test_only_pairs_with_label_passage_and_picture_count_in_the_split_of_their_picture(
    dataset: PreparedSet, tmp_path: Path
) -> None:
    def pair(image: str, text: str, label: str) -> dict[str, Any]:
        return {"image": image, "text": text, "subtask1_label": label, "official_split": "train"}

    lines = [
        pair("0.png", "one", "YES"),
        pair("34.png", "two\u2028lines", "NO"),  # a test picture, whatever file the pair is from
        pair("0.png", "three", ""),  # no label
        pair("0.png", " ", "YES"),  # no passage
        pair("99.png", "four", "YES"),  # no picture
        pair("0.png", "five", "NO"),
    ]
    musti = with_pairs(dataset, tmp_path, lines)
    train, val, test = (labelled_pairs(musti, split) for split in ("train", "val", "test"))
    assert (train.texts, train.same_smell.tolist(), train.image_rows.tolist()) == (
        ["one", "five"],
        [True, False],
        [0, 0],
    )
    assert (test.texts, test.same_smell.tolist(), test.image_rows.tolist()) == (["two\u2028lines"], [False], [34])
    assert len(val) == 0


def test_a_picture_that_is_in_several_splits_counts_for_the_first(dataset: PreparedSet, tmp_path: Path) -> None:
    twice = dataclasses.replace(dataset.records[0], id=41, split="test")
    musti = with_pairs(
        dataclasses.replace(dataset, records=[*dataset.records, twice]),
        tmp_path,
        [{"image": "0.png", "text": "one", "subtask1_label": "YES"}],
    )
    assert [len(labelled_pairs(musti, split)) for split in ("train", "test")] == [1, 0]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_only_one_label_is_a_reason(
    blip: Blip, features: Features, dataset: PreparedSet, pairs: list[dict[str, Any]], tmp_path: Path, split: str
) -> None:
    rows = {"train": slice(28), "val": slice(28, 34), "test": slice(34, 40)}[split]
    names = {f"{row}.png" for row in range(40)[rows]}
    only = [pair | ({"subtask1_label": "NO"} if pair["image"] in names else {}) for pair in pairs]
    table = smell_table(blip, features, with_pairs(dataset, tmp_path, only), seed=0)
    assert tuple(table) == ROWS and {row.value for row in table.values()} == {None}
    assert all(f"the {split} split do not have both labels" in str(row.reason) for row in table.values())


def test_a_set_without_labelled_pairs_is_a_reason(
    blip: Blip, features: Features, dataset: PreparedSet, tmp_path: Path
) -> None:
    table = smell_table(blip, features, dataclasses.replace(dataset, directory=tmp_path), seed=0)
    assert tuple(table) == ROWS and {row.value for row in table.values()} == {None}
    assert all("only MUSTI" in str(row.reason) for row in table.values())


def test_passages_of_test_pairs_teach_nothing(
    blip: Blip, features: Features, dataset: PreparedSet, pairs: list[dict[str, Any]], tmp_path: Path
) -> None:
    table = smell_table(blip, features, with_pairs(dataset, tmp_path, pairs), seed=0)
    asked = [pair for pair in pairs if pair["image"] in {r.file_name for r in dataset.split("test").records}]
    turned = [{**p, "image": "0.png", "subtask1_label": "NO" if p["subtask1_label"] == "YES" else "YES"} for p in asked]
    again = smell_table(blip, features, with_pairs(dataset, tmp_path, pairs + turned * 20), seed=0)
    assert again["smell_probe_macro_f1"] == table["smell_probe_macro_f1"]
