"""The baseline on the prior's own budget: as many training pictures, and as many seconds, scored on the same prompts.

`make compare-diffusion CONFIG=configs/demo.yaml`. Each is a sibling of the run, such as `demo-same-pictures`, with the
same codes and text features; then `evaluation` scores them beside the run's own systems, and `report` shows them.
"""

import json
import sys
from typing import Any

from benchmarks.comparisons.siblings import run_sibling, run_stage
from benchmarks.record import keep_results
from stages.__main__ import parse_config
from stages.errors import StageError
from stages.markdown import markdown_table
from stages.workspace import Workspace

SHARED = ("blip", "vqvae", "codes", "prior")


def main(options: list[str]) -> int:
    """Trains what is not trained yet, scores, prints the table, writes `benchmarks/results/budgets.json`."""
    try:
        rows = compare(options)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(table(rows))
    keep_results("budgets", rows)
    return 0


def compare(options: list[str]) -> dict[str, dict[str, Any]]:
    """By system: `parameters`, `pictures_seen`, `train_seconds`, and its scores, as `evaluation` has them.

    Args:
        options: as of a stage, such as `--config configs/demo.yaml`.

    Raises:
        StageError: the baseline is a tuned checkpoint, whose budget is not that of its tuning.
        SystemExit: a stage could not be run, and has said why.
    """
    if parse_config("diffusion", options).diffusion.pretrained:
        raise StageError("diffusion.pretrained: a checkpoint has learned before, so that no budget is the prior's")
    run_stage("prior", options)
    own = run_stage("diffusion", options)
    rivals = {}
    for name, steps in budgets(own).items():
        rival = run_sibling(own, name, SHARED, "diffusion", [*options, "--diffusion.max_steps", str(steps)])
        rivals[name] = rival.config.run
    options = [*options, "--evaluation.rivals", json.dumps(list(rivals.values()))]
    evaluated = run_stage("evaluation", options)
    for stage in ("latents", "report"):
        run_stage(stage, options)
    metrics = json.loads((evaluated.directory("evaluation") / "metrics.json").read_text())
    found: dict[str, dict[str, Any]] = metrics["budgets"]
    return found


def budgets(own: Workspace) -> dict[str, int]:
    """Steps of the baseline for the number of pictures that the prior saw, and for the time that it took."""
    prior, diffusion = own.manifest("prior"), own.manifest("diffusion")
    section = own.config.diffusion
    seconds_a_step = diffusion["wall_seconds"] / section.max_steps
    return {
        "same-pictures": max(1, round(prior["figures"]["pictures_seen"] / section.batch_size)),
        "same-seconds": max(1, round(prior["wall_seconds"] / seconds_a_step)),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """A row for each system, in Markdown."""
    names = list(next(iter(rows.values())))
    lines = [[system, *(_write(found.get(name)) for name in names)] for system, found in rows.items()]
    return markdown_table(["system", *names], lines)


def _write(figure: Any) -> str:
    value = figure["value"] if isinstance(figure, dict) else figure
    if value is None:
        return "not available"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
