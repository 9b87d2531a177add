"""Artefacts are published whole or not at all, and one that today's config would not make is not taken for it."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from stages.config import RunConfig
from stages.config.data import FolderConfig, PicturesConfig, ScenesConfig
from stages.config.vqvae import VqvaeConfig
from stages.errors import StageError
from stages.workspace import Workspace


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(run="toy", checkpoints=str(tmp_path / "checkpoints"), datasets=str(tmp_path / "data"))


def publish(workspace: Workspace, *stages: str) -> None:
    for stage in stages:
        with workspace.publish(stage) as output:
            (output.directory / "weights.bin").write_bytes(b"12345678")
            output.figures["answer"] = 42


def test_a_published_stage_is_up_to_date_and_says_what_made_it(config: RunConfig) -> None:
    workspace = Workspace(config)
    publish(workspace, "data", "blip", "vqvae")
    assert workspace.why_stale("vqvae") is None
    manifest = workspace.manifest("vqvae")
    assert manifest["figures"] == {"answer": 42}
    assert manifest["config"]["lr"] == config.vqvae.lr
    assert manifest["inputs"] == {name: workspace.digest(name) for name in ("data", "blip")}
    assert manifest["files"] == {"weights.bin": 8}
    assert {"versions", "git_commit", "seed", "device", "wall_seconds", "peak_memory_bytes"} <= manifest.keys()


def test_a_missing_predecessor_is_named_with_the_command(config: RunConfig) -> None:
    with pytest.raises(StageError, match="'data' has not been run; run: make data"):
        Workspace(config).require("data")
    publish(Workspace(config), "data")
    with pytest.raises(StageError, match="'blip' has not been run; run: make blip"):
        Workspace(config).require("blip")


def test_other_settings_are_named_with_both_values(config: RunConfig) -> None:
    publish(Workspace(config), "data", "blip", "vqvae")
    changed = Workspace(dataclasses.replace(config, vqvae=VqvaeConfig(max_steps=77)))
    with pytest.raises(StageError, match=r"vqvae.max_steps: \d+ there, 77 asked for"):
        changed.require("vqvae")
    other_seed = Workspace(dataclasses.replace(config, seed=5))
    with pytest.raises(StageError, match="seed: 0 there, 5 asked for"):
        other_seed.require("data")


def test_settings_of_another_source_make_no_data_stale(config: RunConfig) -> None:
    publish(Workspace(config), "data")

    def reason(**changes: Any) -> str | None:
        data = dataclasses.replace(config.data, **changes)
        return Workspace(dataclasses.replace(config, data=data)).why_stale("data")

    assert reason(folder=FolderConfig(path="elsewhere"), pictures=PicturesConfig(resize="pad")) is None
    assert "data.scenes.train" in str(reason(scenes=ScenesConfig(train=7)))
    assert "data.folder" in str(reason(source="folder"))


def test_pictures_may_be_moved_away_but_not_changed(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    data = dataclasses.replace(config.data, source="folder", folder=FolderConfig(path=str(folder)))
    workspace = Workspace(dataclasses.replace(config, data=data))
    publish(workspace, "data", "blip")
    (folder / ".DS_Store").write_bytes(b"looked at")
    assert workspace.why_stale("blip") is None
    folder.rename(tmp_path / "elsewhere")
    assert workspace.why_stale("blip") is None
    (tmp_path / "elsewhere").rename(folder)
    (folder / "b.png").write_bytes(b"b")
    assert "made from another 'source'" in str(workspace.why_stale("data"))


def test_a_new_input_makes_what_is_downstream_stale(config: RunConfig) -> None:
    workspace = Workspace(config)
    publish(workspace, "data", "blip", "vqvae", "codes")
    publish(workspace, "blip")
    assert workspace.why_stale("blip") is None
    assert "made from another 'blip'" in str(workspace.why_stale("vqvae"))
    assert "made from another 'blip'" in str(workspace.why_stale("codes"))


def test_a_rival_that_was_trained_again_makes_its_scores_stale(config: RunConfig) -> None:
    rivals = dataclasses.replace(config.evaluation, rivals=["longer"])
    workspace = Workspace(dataclasses.replace(config, evaluation=rivals))
    publish(workspace, "data", "blip", "vqvae", "codes", "prior", "diffusion")
    publish(workspace.beside("longer"), "diffusion")
    publish(workspace, "evaluation")
    assert workspace.why_stale("evaluation") is None
    with workspace.beside("longer").publish("diffusion") as output:
        (output.directory / "weights.bin").write_bytes(b"other weights")
    assert "made from another 'diffusion of longer'" in str(workspace.why_stale("evaluation"))
    with pytest.raises(StageError, match="run"):
        workspace.beside("check/points")


def test_a_file_cut_short_is_noticed(config: RunConfig) -> None:
    workspace = Workspace(config)
    publish(workspace, "data")
    (workspace.directory("data") / "weights.bin").write_bytes(b"1234")
    with pytest.raises(StageError, match=r"weights.bin is missing or cut short; run: make data"):
        workspace.require("data")


def test_a_damaged_manifest_is_named(config: RunConfig) -> None:
    workspace = Workspace(config)
    publish(workspace, "data")
    (workspace.directory("data") / "manifest.json").write_text("{")
    with pytest.raises(StageError, match=r"manifest\.json is not a manifest"):
        workspace.require("data")


def test_a_failure_leaves_the_old_artefact_and_nothing_of_the_new(config: RunConfig) -> None:
    workspace = Workspace(config)
    publish(workspace, "data", "blip")
    before = workspace.digest("blip")
    with pytest.raises(OSError, match="disk full"), workspace.publish("blip") as output:
        (output.directory / "half").write_text("half")
        raise OSError("disk full")
    assert workspace.digest("blip") == before
    assert sorted(path.name for path in workspace.root.iterdir() if path.name != ".work") == ["blip"]


def test_scratch_is_kept_for_the_same_settings_only(config: RunConfig) -> None:
    publish(Workspace(config), "data", "blip")
    (Workspace(config).scratch("vqvae") / "last.ckpt").write_text("x")
    assert (Workspace(config).scratch("vqvae") / "last.ckpt").exists()
    changed = dataclasses.replace(config, vqvae=VqvaeConfig(max_steps=77))
    assert not (Workspace(changed).scratch("vqvae") / "last.ckpt").exists()


def test_curves_are_published_and_scratch_is_removed(config: RunConfig) -> None:
    workspace = Workspace(config)
    publish(workspace, "data", "blip")
    (workspace.scratch("vqvae") / "curves.jsonl").write_text(json.dumps({"fit": "x", "step": 1}) + "\n")
    publish(workspace, "vqvae")
    assert (workspace.directory("vqvae") / "curves.jsonl").exists()
    assert not (workspace.root / ".work" / "vqvae").exists()


def test_a_stage_of_a_run_has_one_process(config: RunConfig) -> None:
    workspace = Workspace(config)
    with (
        workspace.locked("blip"),
        pytest.raises(StageError, match="another process is running 'blip'"),
        Workspace(config).locked("blip"),
    ):
        pass


def test_files_that_no_stage_made_are_not_replaced(config: RunConfig) -> None:
    workspace = Workspace(config)
    own = workspace.directory("data") / "holiday.png"
    own.parent.mkdir(parents=True)
    own.write_text("x")
    with pytest.raises(StageError, match="this program did not make it"), workspace.locked("data"):
        pytest.fail("it began")
    assert own.is_file()


def test_what_was_made_while_an_input_changed_is_of_the_input_that_was_read(config: RunConfig) -> None:
    workspace = Workspace(config)
    publish(workspace, "data")
    with workspace.locked("blip"):
        with Workspace(config).publish("data") as output:
            (output.directory / "weights.bin").write_bytes(b"the new set")
        with workspace.publish("blip") as output:
            (output.directory / "weights.bin").write_bytes(b"of the old set")
    assert "made from another 'data'" in str(workspace.why_stale("blip"))


def test_git_need_not_be_there(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    publish(Workspace(config), "data")
    assert Workspace(config).manifest("data")["git_commit"] is None


def test_time_of_interrupted_attempts_counts(config: RunConfig) -> None:
    publish(Workspace(config), "data", "blip")
    began = time.monotonic()
    first = Workspace(config)
    first._started -= 100
    with pytest.raises(KeyboardInterrupt), first.locked("vqvae"):
        first.scratch("vqvae")
        raise KeyboardInterrupt
    second = Workspace(config)
    with second.locked("vqvae"):
        publish(second, "vqvae")
    assert 100 <= second.manifest("vqvae")["wall_seconds"] <= 100.1 + 2 * (time.monotonic() - began)
