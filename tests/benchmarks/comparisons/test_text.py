"""The comparison trains one prior for each form of text on the same codes, once, and puts their figures in a table."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.comparisons.text import FORMS, compare, table
from stages.__main__ import parse_config
from stages.workspace import Workspace


def test_each_form_is_trained_once_on_the_same_codes(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_run.parent / "checkpoints", tmp_path, dirs_exist_ok=True)
    options = ["--config", str(tiny_run), "--checkpoints", str(tmp_path)]
    figures = compare(options)
    assert tuple(figures) == FORMS
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "tiny-pooled", "tiny-codes"}
    made = [path.stat().st_ino for path in sorted(tmp_path.glob("*/prior/manifest.json"))]
    assert compare(options) == figures
    assert made == [path.stat().st_ino for path in sorted(tmp_path.glob("*/prior/manifest.json"))]
    pooled = Workspace(parse_config("samples", [*options, "--run", "tiny-pooled", "--prior.text", "pooled"]))
    assert pooled.why_stale("prior") is None and pooled.why_stale("diffusion") is None
    own = Workspace(parse_config("prior", options))
    assert own.digest("codes") == pooled.digest("codes")
    stores = [workspace.directory("codes") / "lmdb" / "data.mdb" for workspace in (own, pooled)]
    assert os.path.samefile(*stores)
    rows = table(figures).splitlines()
    assert len(rows) == 2 + len(FORMS) and all(row.count("|") == 8 for row in rows)
    assert f"{figures['codes']['val_nll_bits_per_code_bottom_shuffled']:.3f}" in rows[-1]


def test_a_run_without_codes_is_told_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        compare(["--config", "configs/smoke.yaml", "--checkpoints", str(tmp_path), "--datasets", str(tmp_path)])
    assert stopped.value.code == 2
    assert "smoke/blip/manifest.json is missing" in capsys.readouterr().err
