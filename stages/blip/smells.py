"""MUSTI's subtask 1 (MediaEval 2022, 2023): whether a picture and a passage of text evoke the same smell, YES or NO.

BLIP is tuned on captions, which are titles unless `data.musti.caption` says otherwise, and not on the labels: its
scores are taken as they are, with a threshold, and beside them stands a linear probe of its embeddings that learns from
the labels. Passages of test pairs are taken out of train and val. Scored as the task is, by macro F1.
"""

import json
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.blip.blip import Blip
from stages.blip.features import Features
from stages.blip.metrics import macro_f1
from stages.blip.scores import KINDS, Rows, Scores, embed_texts, match_pairs
from stages.data import PreparedSet
from stages.data.prepared import PAIRS
from stages.metrics import Metric, Resampling, bootstrap_rows

ROWS = (*(f"smell_{kind}_macro_f1" for kind in KINDS), "smell_probe_macro_f1", "smell_probe_shuffled_macro_f1",
        "smell_majority_macro_f1")  # fmt: skip
"""The figures: each score with the threshold of the best macro F1 on val; the probe; the probe with the passages of its
training pairs shuffled; the more frequent answer for all."""
_TASK = "macro F1 of MUSTI's subtask1_label, labelled pairs of picture and passage whose picture is in the test split"


@dataclass(frozen=True)
class LabelledPairs:
    """The pairs of one split that have a label and a passage."""

    image_rows: Rows
    """(n,) of the pictures in the set."""
    texts: list[str]
    """n passages."""
    same_smell: NDArray[np.bool_]
    """(n,) the label, YES or NO."""

    def __len__(self) -> int:
        return len(self.texts)

    def without(self, texts: Collection[str]) -> "LabelledPairs":
        """The pairs whose passage is none of these."""
        kept = [place for place, text in enumerate(self.texts) if text not in texts]
        return LabelledPairs(self.image_rows[kept], [self.texts[place] for place in kept], self.same_smell[kept])


def smell_table(blip: Blip, features: Features, dataset: PreparedSet, seed: int) -> dict[str, Metric]:
    """Every figure of `ROWS`, or why there is none."""
    pairs = {split: labelled_pairs(dataset, split) for split in ("train", "val", "test")}
    asked = set(pairs["test"].texts)  # one passage can be paired with pictures of several splits
    pairs |= {split: pairs[split].without(asked) for split in ("train", "val")}
    missing = _missing(dataset, pairs)
    if missing:
        return {name: Metric.unavailable(missing, _TASK) for name in ROWS}
    scores = {split: _scores(blip, features, dataset, pairs[split], split) for split in ("val", "test")}
    truth = pairs["test"].same_smell
    answers: dict[str, tuple[NDArray[np.bool_], str]] = {}
    for kind in KINDS:
        threshold = _best_threshold(scores["val"][kind], pairs["val"].same_smell)
        answers[f"smell_{kind}_macro_f1"] = (
            scores["test"][kind] > threshold,
            f"{kind.upper()} score of picture and passage, threshold of the best macro F1 on val",
        )
    answers |= _probed(blip, features, pairs, seed)
    common = bool(pairs["train"].same_smell.mean() >= 0.5)
    answers["smell_majority_macro_f1"] = np.full(len(truth), common), "the more frequent answer of train, for all"
    resampling = Resampling(1000, seed).of_pictures(pairs["test"].image_rows)
    return {name: _metric(truth, *answers[name], resampling) for name in ROWS}


def labelled_pairs(dataset: PreparedSet, split: str) -> LabelledPairs:
    """The labelled pairs whose picture is in a split; a picture that is in several counts for the first of them."""
    pictures: dict[str, tuple[int, str]] = {}
    for record in dataset.records:
        pictures.setdefault(record.file_name, (record.image, record.split))
    chosen = [
        (pictures[pair["image"]][0], pair["text"], pair["subtask1_label"] == "YES")
        for pair in _read_pairs(dataset.directory / PAIRS)
        if pair["image"] in pictures and pictures[pair["image"]][1] == split
        if pair["subtask1_label"] in ("YES", "NO") and pair["text"].strip()
    ]
    return LabelledPairs(
        np.array([row for row, _, _ in chosen], dtype=np.int64),
        [text for _, text, _ in chosen],
        np.array([label for _, _, label in chosen], dtype=bool),
    )


def _read_pairs(path: Path) -> Iterator[dict[str, str]]:
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _missing(dataset: PreparedSet, pairs: dict[str, LabelledPairs]) -> str:
    """Why there is no figure; empty where there is one."""
    if not (dataset.directory / PAIRS).is_file():
        return "only MUSTI has pairs of picture and passage with a label"
    for split, known in pairs.items():
        if len(set(known.same_smell.tolist())) < 2:
            return f"the pairs of the {split} split do not have both labels (the task's test file has none)"
    return ""


def _scores(blip: Blip, features: Features, dataset: PreparedSet, pairs: LabelledPairs, split: str) -> Scores:
    matching = match_pairs(blip, dataset, pairs.image_rows, pairs.texts, f"{split} labelled")
    return {"itm": matching, "itc": (features.image_pooled[pairs.image_rows] * embed_texts(blip, pairs.texts)).sum(1)}


def _best_threshold(scores: np.ndarray, truth: NDArray[np.bool_]) -> float:
    """The threshold of the highest macro F1, halfway between two scores; the lowest of equally good ones."""
    known = np.unique(scores.astype(np.float64))
    candidates = np.concatenate([[known[0] - 1e-6], (known[1:] + known[:-1]) / 2])
    return float(candidates[int(np.argmax([macro_f1(truth, scores > threshold) for threshold in candidates]))])


def _probed(
    blip: Blip, features: Features, pairs: dict[str, LabelledPairs], seed: int
) -> dict[str, tuple[NDArray[np.bool_], str]]:
    """What logistic regression answers that learnt from the train pairs, and from the same with shuffled passages."""
    embedded = {split: embed_texts(blip, pairs[split].texts) for split in ("train", "test")}
    order = np.random.default_rng(seed).permutation(len(pairs["train"]))
    how = "logistic regression on picture and passage embeddings and their product, fitted on train"
    answers = {}
    for name, texts, said in (
        ("smell_probe_macro_f1", embedded["train"], how),
        ("smell_probe_shuffled_macro_f1", embedded["train"][order], f"{how} with its passages shuffled: a control"),
    ):
        learnt = _joint(features.image_pooled[pairs["train"].image_rows], texts)
        asked = _joint(features.image_pooled[pairs["test"].image_rows], embedded["test"])
        answers[name] = _fit_probe(learnt, pairs["train"].same_smell, asked), said
    return answers


def _joint(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    return np.concatenate([images, texts, images * texts], axis=1)


def _fit_probe(learnt: np.ndarray, truth: NDArray[np.bool_], asked: np.ndarray) -> NDArray[np.bool_]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        called: NDArray[np.bool_] = probe.fit(learnt, truth).predict(asked)
    return called


def _metric(truth: NDArray[np.bool_], called: NDArray[np.bool_], how: str, resampling: Resampling) -> Metric:
    interval = bootstrap_rows(lambda rows: macro_f1(truth[rows], called[rows]), len(truth), resampling)
    return Metric(macro_f1(truth, called), len(truth), interval, resampling.said_of(f"{_TASK}; {how}"))
