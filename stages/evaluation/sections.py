"""What stands beside the systems in `metrics.json`: the tables that earlier stages measured of their own work."""

import json
from typing import Any

from stages.metrics import TABLE
from stages.workspace import Workspace


def measured_section(workspace: Workspace, stage: str) -> dict[str, Any]:
    """The table of a stage, by name of the figure; a `reason` where there is none."""
    directory = workspace.directory(stage)
    if not (directory / "manifest.json").is_file():
        return {"reason": f"the stage '{stage}' has not been run; run: make {stage}"}
    if not (directory / TABLE).is_file():
        return {"reason": f"it was published without {TABLE}; remove {directory} and run: make {stage}"}
    table: dict[str, Any] = json.loads((directory / TABLE).read_text(encoding="utf-8"))
    return table
