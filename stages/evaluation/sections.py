"""What stands beside the systems in `metrics.json`: the tables that earlier stages measured of their own work."""

import json
from typing import Any

from stages.metrics import TABLE
from stages.workspace import Workspace


def measured_section(workspace: Workspace, stage: str) -> dict[str, Any]:
    """The table of a stage, by name of the figure; a `reason` where there is none."""
    path = workspace.directory(stage) / TABLE
    if not path.is_file():
        return {"reason": f"{path} is missing; run: make {stage}"}
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table
