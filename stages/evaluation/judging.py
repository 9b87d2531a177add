"""The judge of a run: trained on real pictures, and how far it can itself be trusted."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.config import RunConfig
from stages.data import PreparedSet
from stages.evaluation.compared import COMPOSITIONS
from stages.evaluation.judge import Judge, JudgeSizes, read_pictures
from stages.evaluation.judge_module import JudgeModule, TrainPictures
from stages.evaluation.labels import ABSENT, attribute_labels
from stages.metrics import Metric, Resampling, Samples, attributes, combined_metric, mean_metric
from stages.training import Batches, fit

log = logging.getLogger("stages.evaluation")

_BATCH = 100
_TRUSTED_FROM = 0.97
_PROTOCOL = "real pictures of '{split}', never trained on; share of pictures whose attribute the judge reads right"


def train_judge(dataset: PreparedSet, config: RunConfig, scratch: Path) -> Judge | None:
    """A judge fitted to real pictures and their true attributes; None for a data set that has no attributes.

    Real are those of `train` and, where the data set is painted by the program, examples painted for the judge alone.
    """
    section, values = config.evaluation, dataset.attribute_values
    if not values:
        return None
    started = time.monotonic()
    pictures = _train_pictures(dataset, values, config, scratch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        judge = Judge(JudgeSizes(dataset.image_size, section.judge_width, values))
    fit(
        JudgeModule(judge, section.judge_lr, section.judge_steps),
        Batches(pictures.batch, len(pictures), section.judge_batch_size, config.seed),
        None,
        max_steps=section.judge_steps,
        val_every=section.judge_steps,
        scratch=scratch,
        desc="judge",
    )
    log.info("evaluation: judge trained on %d real pictures in %.0f s", len(pictures), time.monotonic() - started)
    return judge.eval().requires_grad_(False)


def _train_pictures(
    dataset: PreparedSet, values: dict[str, list[str]], config: RunConfig, scratch: Path
) -> TrainPictures:
    train = dataset.split("train")
    labels = attribute_labels([record.attributes for record in train.records], values)
    count = config.evaluation.judge_examples if config.data.source == "scenes" else 0
    examples = np.zeros((0, *dataset.images.shape[1:]), dtype=np.uint8)
    if count:
        path = scratch / "examples.npz"
        if not path.is_file():
            _paint_examples(count, dataset.image_size, values, config.seed, path)
        with np.load(path, allow_pickle=False) as stored:
            examples, labels = stored["pictures"], np.concatenate([labels, stored["labels"]])
    return TrainPictures(dataset.images, train.image_rows, examples, labels, config.seed)


def _paint_examples(count: int, size: int, values: dict[str, list[str]], seed: int, path: Path) -> None:
    from stages.data.scenes import paint_examples

    pictures, attributes = paint_examples(count, size, seed)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as handle:
        np.savez(handle, pictures=pictures, labels=attribute_labels(attributes, values))
    partial.replace(path)


def judge_figures(judge: Judge | None, dataset: PreparedSet, split: str, resampling: Resampling) -> dict[str, Any]:
    """How often the judge is right on real pictures of the split, and of `compositions` where there is one."""
    if judge is None:
        reason = Metric.unavailable("the data set has no true attributes", "no judge")
        return {"accuracy_mean": reason.to_json()}
    figures = _figures_on(judge, dataset, split, resampling)
    worst = figures["accuracy_worst"]["value"]
    if worst < _TRUSTED_FROM:
        log.warning(
            "evaluation: the judge is right on only %.1f %% of real pictures for its worst attribute; raise "
            "evaluation.judge_steps before trusting attribute figures",
            100 * worst,
        )
    figures["train_pictures"] = len(dataset.split("train").unique_images)
    if COMPOSITIONS in dataset.splits and split != COMPOSITIONS:
        unseen = _figures_on(judge, dataset, COMPOSITIONS, resampling)
        figures |= {f"{name}_{COMPOSITIONS}": figure for name, figure in unseen.items()}
    return figures


def _figures_on(judge: Judge, dataset: PreparedSet, split: str, resampling: Resampling) -> dict[str, Any]:
    """`accuracy` by attribute, `accuracy_mean`, `accuracy_worst` and `accuracy_exact`, each as a metric in JSON."""
    pairs = dataset.split(split)
    records = {record.image: record for record in pairs.records}  # each picture once
    rows = np.array(sorted(records), dtype=np.int64)
    labels = attribute_labels([records[row].attributes for row in rows.tolist()], judge.sizes.attribute_values)
    right = read_pictures(judge, dataset.images[rows], _BATCH) == labels
    wanted = labels != ABSENT
    counts = attributes.attribute_counts(right, wanted)
    protocol = _PROTOCOL.format(split=split)
    figures: dict[str, Any] = {
        "accuracy": {
            name: mean_metric(right[wanted[:, column], column], protocol, resampling).to_json()
            for column, name in enumerate(judge.attributes)
        }
    }
    combinations = {
        "accuracy_mean": (attributes.attribute_accuracy, "mean over attributes"),
        "accuracy_worst": (attributes.attribute_worst, "lowest attribute"),
    }
    for name, (combine, what) in combinations.items():
        figures[name] = combined_metric(Samples(counts, combine), f"{protocol}; {what}", resampling).to_json()
    exact = attributes.attribute_exact(right, wanted)
    figures["accuracy_exact"] = mean_metric(exact, f"{protocol}; every attribute right", resampling).to_json()
    return figures
