"""What each system that paints was given, and what it made of it: weights, pictures seen, seconds, and its scores."""

from typing import Any

from stages.evaluation.comparison import Comparison, Scores
from stages.evaluation.headlines import HEADLINES
from stages.evaluation.painters import paint_with_rival
from stages.evaluation.prompts import Prompts
from stages.evaluation.systems import System
from stages.metrics import Metric
from stages.workspace import Workspace

SCORES = (*HEADLINES, "seconds_per_picture")


def budgets_section(workspace: Workspace, comparison: Comparison, prompts: Prompts, own: Scores) -> dict[str, Any]:
    """By system: `parameters`, `pictures_seen` and `train_seconds`, then the headline metrics on the same prompts.

    Args:
        own: scores of the run's own systems; those of `evaluation.rivals` are drawn here.

    Raises:
        StageError: a rival is not there, or has other codes than this run.
    """
    section = {
        name: costs(workspace, name) | _headlines(own[name])
        for name in ("prior", "diffusion")
        if own[name]["seconds_per_picture"].value is not None
    }
    for run in workspace.config.evaluation.rivals:
        scores = comparison.score_other(_rival(workspace, comparison, run), prompts)
        section[f"diffusion of {run}"] = costs(workspace.beside(run), "diffusion") | _headlines(scores)
    return section


def costs(workspace: Workspace, stage: str) -> dict[str, float]:
    """What training took, by the manifest; weights of several networks together."""
    manifest = workspace.manifest(stage)
    figures = manifest["figures"]
    weights = [
        value for name, value in figures.items() if name in ("parameters", "parameters_top", "parameters_bottom")
    ]
    found = {"parameters": sum(weights), "pictures_seen": figures.get("pictures_seen")}
    return {**found, "train_seconds": manifest["wall_seconds"]}


def _rival(workspace: Workspace, comparison: Comparison, run: str) -> System:
    return System(
        f"diffusion of {run}", lambda prompts: paint_with_rival(workspace, run, prompts, comparison.drawing_seed)
    )


def _headlines(scores: dict[str, Metric]) -> dict[str, Any]:
    return {name: scores[name].to_json() for name in SCORES if name in scores and scores[name].value is not None}
