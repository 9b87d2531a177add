"""What guidance and temperature do to the prior's pictures, on captions of `val`, by which options can be chosen."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from stages.config import RunConfig
from stages.data import PreparedSet
from stages.errors import StageError
from stages.evaluation.drawing import draw_pictures
from stages.evaluation.painters import prior_at
from stages.evaluation.prompts import Prompts, choose_prompts
from stages.evaluation.scores import Case, Instruments, attribute_scores, matching_scores
from stages.metrics import Metric
from stages.workspace import Workspace

SPLIT = "val"
SCORES = ("attribute_accuracy", "attribute_worst", "attribute_exact", "itm_probability")
Sweep = dict[str, dict[str, dict[str, Metric]]]
"""By metric, by "guidance 2", by "temperature 0.85"."""


def sweep_section(
    config: RunConfig, workspace: Workspace, dataset: PreparedSet, instruments: Instruments
) -> dict[str, Any]:
    """The sweep as it stands in `metrics.json`, or the `reason` why there is none."""
    found = sweep_prior(config, workspace, dataset, instruments, workspace.scratch("evaluation") / "sweep")
    if isinstance(found, str):
        return {"reason": found}
    return {
        name: {
            guidance: {temperature: metric.to_json() for temperature, metric in row.items()}
            for guidance, row in rows.items()
        }
        for name, rows in found.items()
    }


def sweep_prior(
    config: RunConfig, workspace: Workspace, dataset: PreparedSet, instruments: Instruments, scratch: Path
) -> Sweep | str:
    """The prior's pictures of the same captions and noise at each setting of the top level's sampling, scored.

    Args:
        scratch: what is drawn is kept here, so that a stopped sweep goes on.

    Returns:
        The figures; in words why there are none.
    """
    section, seed = config.evaluation.sweep, config.seed + config.evaluation.seed_offset
    if section.prompts == 0:
        return "evaluation.sweep.prompts is 0"
    if config.evaluation.split == SPLIT:
        return (
            f"evaluation.split is '{SPLIT}': options chosen on the captions that are compared would flatter the prior"
        )
    if config.prior.caption_dropout == 0 and set(section.guidance_scales) != {1.0}:
        return "prior.caption_dropout is 0, so the prior cannot be guided; try evaluation.sweep.guidance_scales [1.0]"
    prompts = choose_prompts(dataset.split(SPLIT), section.prompts, seed)
    if len(prompts) == 0:
        return f"the split '{SPLIT}' is empty"
    try:
        prior = prior_at(workspace, prompts, seed)
    except StageError as error:
        return str(error)
    found: Sweep = {}
    for guidance, temperature in product(section.guidance_scales, section.temperatures):
        down, across = f"temperature {temperature:g}", f"guidance {guidance:g}"
        folder = scratch / f"{across}, {down}"
        desc = f"prior paints {SPLIT}: {across}, {down}"
        drawn = draw_pictures(prior(guidance, temperature), len(prompts), section.batch_size, folder, desc)
        for name, metric in _scores(drawn.pictures, prompts, dataset, instruments).items():
            found.setdefault(name, {}).setdefault(across, {})[down] = metric
    return found


def _scores(
    pictures: np.ndarray, prompts: Prompts, dataset: PreparedSet, instruments: Instruments
) -> dict[str, Metric]:
    labels = prompts.labels(dataset.attribute_values or {})
    case = Case(pictures, [], prompts.texts, prompts.image_rows, pictures, labels)
    found = attribute_scores(pictures, labels, instruments) | matching_scores(case, instruments)
    return {name: found[name] for name in SCORES}
