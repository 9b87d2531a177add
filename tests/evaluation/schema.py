"""What in a `metrics.json` is not as `metrics.schema.json` describes it."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from stages.evaluation import stage

SCHEMA: dict[str, Any] = json.loads((Path(stage.__file__).parent / "metrics.schema.json").read_text())


def violations(metrics: dict[str, Any]) -> list[str]:
    """Where it is otherwise, such as `systems/prior`; none for a valid document."""
    errors = Draft202012Validator(SCHEMA).iter_errors(metrics)
    return sorted("/".join(map(str, error.absolute_path)) for error in errors)
