"""What each form of text (`prior.text`) is worth to the prior: one prior for each, on the same codes, in one table.

`make compare-text CONFIG=configs/demo.yaml`. The run's own prior is one of them; the others are its siblings, such as
the run `demo-codes`.
"""

import sys
from typing import Any, get_args

from benchmarks.comparisons.siblings import run_sibling, run_stage
from benchmarks.record import keep_results
from stages.config.prior import TextForm
from stages.markdown import markdown_table
from stages.prior.prior import LEVELS

FORMS = get_args(TextForm)
SHARED = ("blip", "vqvae", "codes", "diffusion")


def main(options: list[str]) -> int:
    """Trains what is not trained yet, prints the table, writes `benchmarks/results/text.json`."""
    figures = compare(options)
    print("bits per code on held-out pictures (val), and learnt weights, by what the prior reads of a caption:\n")
    print(table(figures))
    keep_results("text", figures)
    return 0


def compare(options: list[str]) -> dict[str, dict[str, Any]]:
    """Figures of the stage by form of text.

    Args:
        options: as of stage `prior`, such as `--config configs/demo.yaml`.

    Raises:
        SystemExit: the stage could not be run, and has said why.
    """
    own = run_stage("prior", options)  # first: what is missing is said of the run that was named
    figures = {own.config.prior.text: own.manifest("prior")["figures"]}
    for text in FORMS:
        if text not in figures:
            other = run_sibling(own, text, SHARED, "prior", [*options, "--prior.text", text])
            figures[text] = other.manifest("prior")["figures"]
    return {text: figures[text] for text in FORMS}


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
