import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stages.__main__ import parse_config
from stages.blip import load_blip, load_features
from stages.blip.features import weights_digest
from stages.blip.stage import run
from stages.config import RunConfig
from stages.config.blip import FEATURES_FORMAT, BlipConfig
from stages.data import PreparedSet, load_dataset, to_tensor
from stages.data.prepared import PreparedWriter
from stages.errors import StageError
from stages.workspace import Workspace


@pytest.fixture
def workspace(config: BlipConfig, described: PreparedSet, tmp_path: Path) -> Workspace:
    """A run whose data stage is done."""
    dataset = described
    checkpoints, datasets = str(tmp_path / "checkpoints"), str(tmp_path / "data")
    workspace = Workspace(RunConfig(run="tiny", blip=config, checkpoints=checkpoints, datasets=datasets))
    with workspace.publish("data") as output:
        writer = PreparedWriter(output.directory, 16)
        writer.allocate(len(dataset.images))[:] = dataset.images
        for record in dataset.records:
            writer.add(record.image, record.caption, file_name=record.file_name, split=record.split, group=record.group,
                       attributes=record.attributes, contrast=record.contrast)  # fmt: skip
        writer.close(dataset.attribute_values)
    return workspace


def with_blip(config: RunConfig, **changes: Any) -> RunConfig:
    return dataclasses.replace(config, run="again", blip=dataclasses.replace(config.blip, **changes))


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
    assert {name: row["value"] for name, row in table.items()}.items() <= figures.items()
    for name, row in table.items():
        assert row.keys() - {"reason"} == {"value", "n", "ci95", "protocol"}, name
        assert (row["value"] is None) == ("reason" in row) == name.startswith("smell_"), name
    histograms = json.loads((directory / "histograms.json").read_text())
    for score in ("itm", "itc"):
        assert [sum(histograms[score][kind]) for kind in ("related", "unrelated", "hard")] == [6, 6, 6]
        assert histograms[score]["hard_threshold"] == table[f"{score}_hard_threshold"]["value"]
    assert "untrue in one attribute" in table["itm_hard_f1"]["protocol"]
    description = json.loads((directory / "blip.json").read_text())
    assert description["weights_sha256"] == weights_digest(directory)
    assert 0.01 <= description["temperature"] <= 0.5


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


def test_the_published_recipe_runs_and_says_what_it_truncated(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """RAdam with Lookahead, accumulated batches and a queue; captions longer than nine tokens."""
    config = with_blip(
        workspace.config,
        optimizer="radam_lookahead",
        accumulate=2,
        max_steps=7,
        queue_size=16,
        max_tokens=9,
        lr=1e-3,
        val_every=3,
    )
    workspace = Workspace(config)
    with caplog.at_level(logging.INFO, logger="stages"):
        run(config, workspace)
    directory = workspace.require("blip")
    captions = [record.caption for record in load_dataset(workspace.require("data")).records]
    long = sum("old master" in caption or "first" in caption for caption in captions)
    assert 0 < long < 41
    assert workspace.manifest("blip")["figures"]["captions_truncated"] == long
    lines = [record.message for record in caplog.records if record.name == "stages.blip"]
    assert any(line.startswith("blip: ") and "of 29 train captions truncated to 9 tokens" in line for line in lines)
    assert any(line.startswith(f"blip: {long} of 41 captions truncated; itm_f1 ") for line in lines)
    steps = [json.loads(line) for line in (directory / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "val/mean_recall" in line] == [3, 6, 7]
    assert load_blip(directory).max_tokens == 9 and load_features(directory).text_tokens.shape[1] == 9
    weights = load_file(directory / "retrieval" / "model.safetensors")
    assert not any("queue" in name or "encoders" in name for name in weights)


def test_low_rank_updates_at_another_side_are_published_as_plain_weights(workspace: Workspace) -> None:
    run(workspace.config, workspace)
    start = workspace.directory("blip")
    config = with_blip(
        workspace.config,
        pretrained=str(start / "retrieval"),
        pretrained_captioner=str(start / "captioner"),
        tuned="lora",
        image_size=24,
        gradient_checkpointing=True,
    )
    again = Workspace(config)
    run(config, again)
    directory = again.require("blip")
    trained = again.manifest("blip")["figures"]["parameters"]
    assert trained < workspace.manifest("blip")["figures"]["parameters"] / 2
    blip, features = load_blip(directory), load_features(directory)
    assert blip.network.image_size == 24
    before, after = (
        load_file(start / "retrieval/model.safetensors"),
        load_file(directory / "retrieval/model.safetensors"),
    )
    assert before.keys() == after.keys()
    kept = "text_encoder.embeddings.word_embeddings.weight"
    moved = "text_encoder.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(before[kept], after[kept]) and not torch.equal(before[moved], after[moved])
    pooled = blip.encode_images(to_tensor(load_dataset(again.require("data")).images[:4]))
    torch.testing.assert_close(torch.from_numpy(np.array(features.image_pooled[:4])), pooled)


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


def test_features_of_an_earlier_version_are_made_again(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.parent / "checkpoints", tmp_path, dirs_exist_ok=True)
    workspace = Workspace(parse_config("blip", ["--config", str(tiny_run), "--checkpoints", str(tmp_path)]))
    assert workspace.why_stale("blip") is None
    path = workspace.directory("blip") / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["config"].pop("format") == FEATURES_FORMAT
    path.write_text(json.dumps(manifest))
    assert f"blip.format: None there, '{FEATURES_FORMAT}' asked for" in str(workspace.why_stale("blip"))
    with pytest.raises(StageError, match=r"asked for.*; run: make blip"):
        workspace.require("blip")
