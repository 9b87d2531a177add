"""The tables of earlier stages, or why there is none."""

import json
from pathlib import Path

import pytest

from stages.config import RunConfig
from stages.evaluation.sections import measured_section
from stages.metrics import Interval, Metric, write_table
from stages.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(RunConfig(run="demo", checkpoints=str(tmp_path / "checkpoints"), datasets=str(tmp_path / "data")))


def test_a_table_is_read_as_it_was_written(workspace: Workspace) -> None:
    directory = workspace.directory("prior")
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text("{}")
    write_table(
        {"bits": Metric(2.5, 9, Interval(2.0, 3.0), "mean"), "none": Metric.unavailable("why", "how")}, directory
    )
    assert measured_section(workspace, "prior") == {
        "bits": {"value": 2.5, "n": 9, "ci95": [2.0, 3.0], "protocol": "mean"},
        "none": {"value": None, "n": 0, "ci95": None, "protocol": "how", "reason": "why"},
    }
    json.dumps(measured_section(workspace, "prior"), allow_nan=False)


def test_without_a_table_it_says_what_to_run(workspace: Workspace) -> None:
    assert measured_section(workspace, "prior")["reason"].endswith("has not been run; run: make prior")
    directory = workspace.directory("prior")
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text("{}")  # of a version that wrote no table: to run it again, it must go
    assert measured_section(workspace, "prior")["reason"].endswith(f"remove {directory} and run: make prior")
