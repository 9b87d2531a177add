import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.blip import load_blip, load_features
from stages.blip.stage import run
from stages.config import RunConfig
from stages.config.blip import BlipConfig
from stages.data import PreparedSet, to_tensor
from stages.data.prepared import PreparedWriter
from stages.errors import StageError
from stages.workspace import Workspace


@pytest.fixture
def workspace(config: BlipConfig, dataset: PreparedSet, tmp_path: Path) -> Workspace:
    """A run whose data stage is done."""
    checkpoints, datasets = str(tmp_path / "checkpoints"), str(tmp_path / "data")
    workspace = Workspace(RunConfig(run="tiny", blip=config, checkpoints=checkpoints, datasets=datasets))
    with workspace.publish("data") as output:
        writer = PreparedWriter(output.directory, 16)
        writer.allocate(len(dataset.images))[:] = dataset.images
        for record in dataset.records:
            writer.add(record.image, record.caption, file_name=record.file_name, split=record.split, group=record.group)
        writer.close()
    return workspace


def test_the_stage_publishes_what_others_read(workspace: Workspace, dataset: PreparedSet) -> None:
    run(workspace.config, workspace)
    directory = workspace.require("blip")
    figures = workspace.manifest("blip")["figures"]
    table = json.loads((directory / "table.json").read_text())
    assert figures["text_to_image_r10"] == table["text_to_image_r10"]["value"] == 1.0  # 6 pictures
    assert figures["captions_truncated"] == 0 and figures["parameters"] > 10_000
    blip, features = load_blip(directory), load_features(directory)
    assert blip.max_tokens == 16
    assert len(features.text_tokens) == 41 and len(features.image_pooled) == 40
    pooled = blip.encode_images(to_tensor(dataset.images[:4]))
    torch.testing.assert_close(torch.from_numpy(np.array(features.image_pooled[:4])), pooled)
    assert "val/retrieval_r10" in (directory / "curves.jsonl").read_text()
    assert not list(directory.rglob("*.ckpt")) and not list(directory.rglob("*.bin"))


def test_a_tuned_blip_is_a_checkpoint_to_start_from(workspace: Workspace, tmp_path: Path) -> None:
    run(workspace.config, workspace)
    start = workspace.directory("blip")
    again = dataclasses.replace(
        workspace.config,
        run="again",
        blip=dataclasses.replace(
            workspace.config.blip,
            pretrained=str(start / "retrieval"),
            pretrained_captioner=str(start / "captioner"),
            lr=1e-9,
            max_steps=1,
        ),
    )
    run(again, Workspace(again))
    first, second = (load_blip(tmp_path / "checkpoints" / name / "blip") for name in ("tiny", "again"))
    torch.testing.assert_close(
        first.encode_text(["a red patch"]).tokens, second.encode_text(["a red patch"]).tokens, atol=1e-4, rtol=1e-4
    )


def test_without_a_data_set_it_says_what_to_run(config: BlipConfig, tmp_path: Path) -> None:
    workspace = Workspace(RunConfig(run="tiny", blip=config, checkpoints=str(tmp_path), datasets=str(tmp_path)))
    with pytest.raises(StageError, match="make data"):
        run(workspace.config, workspace)
    assert not (tmp_path / "tiny" / "blip").exists()


def test_a_missing_checkpoint_leaves_nothing_behind(workspace: Workspace, tmp_path: Path) -> None:
    config = dataclasses.replace(
        workspace.config, blip=dataclasses.replace(workspace.config.blip, pretrained=str(tmp_path / "none"))
    )
    with pytest.raises(StageError, match="make weights"):
        run(config, Workspace(config))
    assert not (tmp_path / "checkpoints" / "tiny" / "blip").exists()
