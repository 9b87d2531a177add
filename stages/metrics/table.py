"""The table beside what a stage published: what it measured of its own work, every figure with its protocol."""

import json
from pathlib import Path

from stages.metrics.metric import Metric

Table = dict[str, Metric]
TABLE = "table.json"
"""Its file in the stage's folder."""
TABLE_REPEATS = 1000
"""Resamples behind the intervals in it."""


def write_table(table: Table, directory: Path) -> None:
    """Writes `table.json` into the folder: by name, `{"value", "n", "ci95", "protocol"}`."""
    entries = {name: metric.to_json() for name, metric in table.items()}
    (directory / TABLE).write_text(json.dumps(entries, indent=2) + "\n")


def figures_of(table: Table) -> dict[str, float | None]:
    """The values alone, as a manifest has them; None where one is not available."""
    return {name: metric.value for name, metric in table.items()}
