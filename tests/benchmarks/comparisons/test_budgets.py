"""The baseline on the prior's budget: trained once, by a command, and scored beside the run on the same prompts."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.comparisons.budgets import budgets, compare, table
from benchmarks.comparisons.budgets import main as command
from stages.__main__ import main, parse_config
from stages.diffusion import load_rival
from stages.errors import StageError
from stages.evaluation import stage as evaluation
from stages.workspace import Workspace

FEW = ["--evaluation.max_prompts", "4", "--evaluation.max_captions", "2", "--evaluation.max_compositions", "0"]
FEW += ["--evaluation.judge_steps", "2", "--evaluation.judge_examples", "8", "--evaluation.sweep.prompts", "0"]


@pytest.fixture(scope="module")
def options(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of the tiny run, copied to where siblings may be made."""
    folder = tmp_path_factory.mktemp("rivals")
    shutil.copytree(tiny_run.parent / "checkpoints", folder, dirs_exist_ok=True)
    return ["--config", str(tiny_run), "--checkpoints", str(folder)]


def test_both_budgets_are_trained_once_and_scored(options: list[str]) -> None:
    rows = compare([*options, *FEW])
    assert list(rows) == ["prior", "diffusion", "diffusion of tiny-same-pictures", "diffusion of tiny-same-seconds"]
    own = Workspace(parse_config("diffusion", options))
    prior, pictures = rows["prior"], rows["diffusion of tiny-same-pictures"]
    assert pictures["pictures_seen"] == pytest.approx(prior["pictures_seen"], abs=own.config.diffusion.batch_size)
    assert prior["train_seconds"] == own.manifest("prior")["wall_seconds"]
    assert all(0 <= row["attribute_accuracy"]["value"] <= 1 for row in rows.values())
    lines = table(rows).splitlines()
    assert len(lines) == 2 + len(rows) and f"| {prior['parameters']:,} |" in lines[2]
    page = (own.directory("report") / "report.md").read_text()
    assert "## Budgets" in page and "tiny-same-seconds" in page
    rival = own.beside("tiny-same-pictures")
    made = (rival.directory("diffusion") / "manifest.json").stat().st_ino
    compare([*options, *FEW])
    assert made == (rival.directory("diffusion") / "manifest.json").stat().st_ino


def test_a_tuned_checkpoint_has_no_such_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--config", "configs/demo.yaml", "--diffusion.pretrained", "someone/something"]) == 2
    assert capsys.readouterr().err.startswith("error: diffusion.pretrained: ")


def test_time_is_shared_out_by_the_seconds_of_a_step(options: list[str]) -> None:
    own = Workspace(parse_config("diffusion", options))
    path = own.directory("diffusion") / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["wall_seconds"] = 0.5 * own.manifest("prior")["wall_seconds"]
    path.write_text(json.dumps(manifest))
    assert budgets(own)["same-seconds"] == 2 * own.config.diffusion.max_steps


def test_a_rival_on_other_codes_is_refused(
    options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Workspace(parse_config("diffusion", options))
    shutil.copytree(own.root, own.root.parent / "elsewhere")
    path = own.root.parent / "elsewhere" / "diffusion" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["inputs"]["codes"] = "other"
    path.write_text(json.dumps(manifest))
    with pytest.raises(StageError, match="made from another 'codes' than that of run 'tiny'"):
        load_rival(own, "elsewhere")
    with pytest.raises(StageError, match="has not been run"):
        load_rival(own, "nowhere")
    monkeypatch.setattr(evaluation, "train_judge", lambda *_: pytest.fail("minutes of work come first"))
    assert main(["evaluation", *options, *FEW, "--evaluation.rivals", '["nowhere"]']) == 2
    assert "nowhere" in capsys.readouterr().err
