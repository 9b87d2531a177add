"""How different the pictures are that a system paints for one and the same prompt."""

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from stages.config.evaluation import EvaluationConfig
from stages.data import PreparedSet, pictures_at_once, to_tensor
from stages.errors import StageError
from stages.evaluation.drawing import draw_pictures
from stages.evaluation.prompts import Prompts
from stages.evaluation.scores import Instruments, parts, picture_features
from stages.evaluation.systems import System
from stages.metrics import Metric, mean_metric
from stages.metrics.perceptual import Perceptual, lpips_distance

PAINTERS = ("prior", "diffusion")
"""The systems that paint from text: what they paint for a prompt can differ."""
BACKBONE = "alex"
"""Of the LPIPS between pictures of one prompt."""


def add_diversity(
    metrics: dict[str, dict[str, Metric]],
    systems: Sequence[System],
    prompts: Prompts,
    dataset: PreparedSet,
    instruments: Instruments,
    section: EvaluationConfig,
    scratch: Path,
) -> None:
    """Adds `diversity_pixels`, `diversity_blip` and `diversity_lpips` of the painters; of `real`, of train pictures.

    Args:
        scratch: what is drawn is kept here, so that a stopped run goes on.
    """
    count, each = min(section.diversity_prompts, len(prompts)), section.diversity_pictures
    if count == 0:
        return
    chosen = Prompts(prompts.split, prompts.records[:count], prompts.record_rows[:count])
    for system in systems:
        if system.name in PAINTERS:
            drawn = _paint(system, _repeated(chosen, each), section.batch_size, scratch / "diversity" / system.name)
            groups = drawn if isinstance(drawn, str) else list(drawn.reshape(count, each, *drawn.shape[1:]))
            metrics[system.name] |= diversity_scores(groups, f"{each} pictures of each prompt", instruments)
    alike = _train_pictures_alike(chosen, dataset, each)
    groups = alike or "no prompt's attributes are those of two train pictures, or they are not known"
    whose = f"2 to {each} train pictures that have every attribute of the prompt"
    metrics["real"] |= diversity_scores(groups, whose, instruments)


def diversity_scores(groups: Sequence[np.ndarray] | str, whose: str, instruments: Instruments) -> dict[str, Metric]:
    """Mean distance of two pictures of one prompt, over pairs, then over prompts.

    Args:
        groups: pictures (k,H,W,3) uint8 of each prompt, two at least; in words why there are none.
        whose: what a group is.
    """
    what = f"mean over prompts of the mean over pairs of {whose}"
    side = 0 if isinstance(groups, str) else groups[0].shape[1]
    network, reason = instruments.perceptuals.get(BACKBONE, Perceptual(None, _LEFT_OUT))
    protocols = {
        "diversity_pixels": f"root mean square difference of 8-bit pictures in [-1,1], {what}",
        "diversity_blip": f"cosine distance of the embeddings of the run's own BLIP, {what}",
        "diversity_lpips": f"LPIPS v0.1 ({BACKBONE}, ImageNet weights) at {side}x{side}, {what}",
    }
    if isinstance(groups, str):
        return {name: Metric.unavailable(groups, protocol) for name, protocol in protocols.items()}
    values: dict[str, list[float]] = {name: [] for name in protocols}
    for pictures in groups:
        left, right = (np.array(ends) for ends in zip(*combinations(range(len(pictures)), 2), strict=True))
        image = to_tensor(pictures)
        features = picture_features(instruments.blip, pictures, instruments.batch_size)
        squares = (image[left] - image[right]).square().mean(dim=(1, 2, 3))
        values["diversity_pixels"].append(float(squares.sqrt().mean()))
        values["diversity_blip"].append(float((1 - (features[left] * features[right]).sum(axis=1)).mean()))
        if network is not None:
            pairs = parts(len(left), pictures_at_once(side, instruments.batch_size))
            found = [lpips_distance(network, image[left[part]], image[right[part]]).numpy() for part in pairs]
            values["diversity_lpips"].append(float(np.concatenate(found).mean()))
    return {
        name: mean_metric(np.array(values[name]), protocol, instruments.resampling)
        if values[name]
        else Metric.unavailable(str(reason), protocol)
        for name, protocol in protocols.items()
    }


def _repeated(prompts: Prompts, each: int) -> Prompts:
    records = [record for record in prompts.records for _ in range(each)]
    return Prompts(prompts.split, records, np.repeat(prompts.record_rows, each))


def _paint(system: System, prompts: Prompts, batch_size: int, scratch: Path) -> np.ndarray | str:
    """Pictures (n,H,W,3) uint8; in words why there are none."""
    try:
        draw = system.open(prompts)
    except StageError as error:
        return str(error)
    return draw_pictures(draw, len(prompts), batch_size, scratch, f"{system.name} paints prompts again").pictures


def _train_pictures_alike(prompts: Prompts, dataset: PreparedSet, most: int) -> list[np.ndarray]:
    """Of each prompt whose attributes two train pictures have at least: those pictures, `most` of them at most."""
    rows: dict[str, list[int]] = {}
    for record in dataset.split("train").records:
        if record.attributes is not None:
            rows.setdefault(json.dumps(record.attributes, sort_keys=True), []).append(record.image)
    return list(_alike(prompts, rows, dataset.images, most))


def _alike(prompts: Prompts, rows: dict[str, list[int]], images: np.ndarray, most: int) -> Iterator[np.ndarray]:
    for record in prompts.records:
        found = sorted(set(rows.get(json.dumps(record.attributes, sort_keys=True), [])))[:most]
        if len(found) > 1:
            yield np.asarray(images[found])


_LEFT_OUT = f"evaluation.lpips_backbones does not name {BACKBONE}"
