"""Logged values as JSON lines."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger


class Curves(Logger):
    """Appends logged values to a JSON-lines file; lines of this fit after the step it resumes from are dropped."""

    def __init__(self, path: Path, fit_name: str, start_step: int) -> None:
        super().__init__()
        self.path, self.fit_name = path, fit_name
        if path.is_file():
            lines = _lines_of(path)
            kept = [line for line in lines if line["fit"] != fit_name or line["step"] <= start_step]
            path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    @property
    def name(self) -> str:
        return self.fit_name

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Hyper-parameters are in the manifest."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: value for key, value in metrics.items() if key != "epoch"}
        if values:
            with self.path.open("a") as handle:
                handle.write(json.dumps({"fit": self.fit_name, "step": (step or 0) + 1, **values}) + "\n")


def steps_done(path: Path, fit_name: str) -> int:
    """The last step of a fit that its curves tell of: patience may have ended it before `max_steps`."""
    return max((line["step"] for line in _lines_of(path) if line["fit"] == fit_name), default=0)


def _lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of curves; one that a full disk or a lost machine has cut is left out."""
    lines = []
    for line in path.read_text().splitlines():
        with suppress(ValueError):
            lines.append(json.loads(line))
    return lines
