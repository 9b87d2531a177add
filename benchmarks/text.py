"""What each form of text (`prior.text`) is worth to the prior: one prior for each, on the same codes, in one table.

`make compare-text CONFIG=configs/demo.yaml`. The run's own prior is one of them. The others are runs beside it, such as
`demo-codes`, which share what comes before the prior (hard links, no byte is copied): stage `prior` trains them, so a
stopped comparison goes on where it was, and they can be painted from and evaluated as any run can.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, get_args

from stages.__main__ import main as run_stage
from stages.__main__ import parse_config
from stages.config.prior import TextForm
from stages.markdown import markdown_table
from stages.workspace import Workspace

FORMS = get_args(TextForm)
SHARED = ("blip", "vqvae", "codes", "diffusion")
LEVELS = ("top", "bottom")
RESULTS = Path(__file__).parent / "results"


def main(options: list[str]) -> int:
    """Trains what is not trained yet, prints the table, writes `benchmarks/results/text.json`."""
    figures = compare(options)
    print("bits per code on held-out pictures (val), and learnt weights, by what the prior reads of a caption:\n")
    print(table(figures))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "text.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def compare(options: list[str]) -> dict[str, dict[str, Any]]:
    """Figures of the stage by form of text.

    Args:
        options: as of stage `prior`, such as `--config configs/demo.yaml`.

    Raises:
        SystemExit: the stage could not be run, and has said why.
    """
    figures = {}
    train(options)  # the run's own first: what is missing is said of the run that was named
    own = Workspace(parse_config("prior", options))
    figures[own.config.prior.text] = own.manifest("prior")["figures"]
    for text in FORMS:
        if text not in figures:
            others = [*options, "--run", f"{own.config.run}-{text}", "--prior.text", text]
            other = Workspace(parse_config("prior", others))
            share(own, other)
            train(others)
            figures[text] = other.manifest("prior")["figures"]
    return {text: figures[text] for text in FORMS}


def train(options: list[str]) -> None:
    """Stage `prior` in this process."""
    status = run_stage(["prior", *options])
    if status != 0:
        sys.exit(status)


def share(own: Workspace, other: Workspace) -> None:
    """Gives the other run what is up to date of this one's stages that do not depend on the prior."""
    for stage in SHARED:
        if own.why_stale(stage) is not None:
            continue
        if other.why_stale(stage) is None and other.digest(stage) == own.digest(stage):
            continue
        shutil.rmtree(other.directory(stage), ignore_errors=True)
        shutil.copytree(own.directory(stage), other.directory(stage), copy_function=os.link)


def table(figures: dict[str, dict[str, Any]]) -> str:
    """A row for each form of text, in Markdown."""
    head = ["prior.text", *(f"{level}, {told} caption" for level in LEVELS for told in ("true", "another's"))]
    bits = [f"val_nll_bits_per_code_{level}{told}" for level in LEVELS for told in ("", "_shuffled")]
    rows = [
        [
            text,
            *(f"{found[name]:.3f}" for name in bits),
            *(f"{found[f'parameters_{level}']:,}" for level in LEVELS),
        ]
        for text, found in figures.items()
    ]
    return markdown_table([*head, *(f"parameters, {level}" for level in LEVELS)], rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
