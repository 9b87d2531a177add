"""The stage on small real artefacts: pictures, an untrained VQ-VAE, its codes in LMDB."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.codes import CodeRecords, CodeWriter, Schema
from stages.config import RunConfig
from stages.config.latents import LatentsConfig
from stages.data import load_dataset, to_tensor
from stages.data.prepared import PreparedWriter
from stages.errors import StageError
from stages.latents import stage
from stages.latents.plots import MOST_LABELS, merge_rare_labels
from stages.vqvae import VQVAE, VQVAESizes, save_vqvae
from stages.workspace import Workspace

SIZES = VQVAESizes(
    image_size=16,
    embedding_width=8,
    channels=8,
    residual_blocks=1,
    residual_channels=4,
    embedding_dim=4,
    codebook_size=16,
    text_codes=3,
    quantizer="ema",
    decay=0.9,
)
COORDINATES = 2 * 2 + 2 + 2 * 2  # PCA of two levels, t-SNE of the top level, pictures and captions together


def publish_run(root: Path, test_pictures: int, *, attributes: bool, captions: int = 1) -> Workspace:
    """A run's artefacts up to `codes`: a few pictures, `captions` pairs of each."""
    workspace = Workspace(RunConfig(run="tiny", checkpoints=str(root / "checkpoints"), datasets=str(root / "data")))
    rng = np.random.default_rng(0)
    with workspace.publish("data") as output:
        writer = PreparedWriter(output.directory, SIZES.image_size)
        images = writer.allocate(test_pictures + 2)
        images[:] = rng.integers(0, 256, images.shape)
        for row in range(len(images)):
            split = "train" if row < 2 else "test"
            true = {"subject": ("ship", "fish")[row % 2]} if attributes else None
            for number in range(captions):
                caption = f"picture {row}, told {number} times"
                writer.add(row, caption, file_name=f"{row}.png", split=split, group=f"g{row}", attributes=true)
        writer.close({"subject": ["ship", "fish"]} if attributes else None)
    with workspace.publish("blip"):
        pass
    torch.manual_seed(0)
    network = VQVAE(SIZES).eval()
    with workspace.publish("vqvae") as output:
        save_vqvae(network, output.directory)
    with workspace.publish("codes") as output:
        write_codes(network, workspace, output.directory / "lmdb")
    return workspace


@torch.no_grad()
def write_codes(network: VQVAE, workspace: Workspace, folder: Path) -> None:
    """The codes of every pair, from embeddings drawn at random."""
    dataset = load_dataset(workspace.directory("data"))
    folder.mkdir()
    schema = Schema(SIZES.top_side, SIZES.bottom_side, SIZES.text_codes, 16, "", "")
    writer = CodeWriter(folder, schema)
    generator = torch.Generator().manual_seed(0)
    for split in map(dataset.split, dataset.splits):
        embedding = torch.nn.functional.normalize(torch.randn(len(split), 8, generator=generator), dim=1)
        codes = network.encode(to_tensor(dataset.images[split.image_rows]), embedding)
        text = network.encode_text(embedding)
        names = [record.file_name for record in split.records]
        top, bottom = codes.top.numpy(), codes.bottom.numpy()
        writer.append(split.name, CodeRecords(split.record_rows, top, bottom, text.numpy(), split.captions, names))
    writer.finish()


def coordinates(workspace: Workspace) -> list[dict[str, str]]:
    with (workspace.directory("latents") / "coordinates.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_picture_has_all_its_coordinates_and_its_record(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 12, attributes=True, captions=2)
    stage.run(workspace.config, workspace)
    rows = coordinates(workspace)
    assert [row["file_name"] for row in rows] == [f"{row}.png" for row in range(2, 14)]  # once, though told twice
    assert {row["label"] for row in rows} == {"ship", "fish"}
    assert rows[0]["caption"] == "picture 2, told 0 times" and rows[0]["record_id"] == "4"
    for row in rows:
        values = [float(value) for name, value in row.items() if name.startswith(("pca_", "tsne_"))]
        assert len(values) == COORDINATES and np.isfinite(values).all()
    figures = workspace.manifest("latents")["figures"]
    assert figures["pictures"] == 12 and figures["pairs"] == 24
    assert figures["retrieval_r10_chance"] == pytest.approx(10 / 12)
    for name in ("trustworthiness", "knn_agreement_top", "usage_top", "usage_bottom", "explained_variance_10_top"):
        assert 0 <= figures[name] <= 1
    for plot in figures["plots"]:
        header = (workspace.directory("latents") / plot["file"]).read_bytes()[:4]
        assert header == b"\x89PNG" and plot["caption"]


def test_eight_pictures_without_labels(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 8, attributes=False)
    stage.run(workspace.config, workspace)
    figures = workspace.manifest("latents")["figures"]
    assert figures["tsne_perplexity"] == pytest.approx(7 / 3)
    assert "k-means" in figures["label_source"]
    said = [plot["caption"] for plot in figures["plots"] if plot["file"] == "tsne_top.png"]
    assert "clipped from 30: only 8 points" in said[0]
    assert all(row["label"].startswith("cluster") for row in coordinates(workspace))


def test_two_pictures_go_without_tsne_and_one_is_refused(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path / "two", 2, attributes=True)
    stage.run(workspace.config, workspace)
    figures = workspace.manifest("latents")["figures"]
    assert figures["trustworthiness"] is None and "at least 4 pictures" in figures["tsne_reason"]
    assert "tsne_top_1" not in coordinates(workspace)[0]
    workspace = publish_run(tmp_path / "one", 1, attributes=True)
    with pytest.raises(StageError, match="needs at least 2"):
        stage.run(workspace.config, workspace)


def test_more_pictures_than_wanted_are_drawn_by_seed(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 12, attributes=True)
    config = dataclasses.replace(workspace.config, latents=LatentsConfig(max_points=6))
    stage.run(config, workspace)
    names = [row["file_name"] for row in coordinates(workspace)]
    assert len(names) == len(set(names)) == 6


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 4, attributes=True)
    config = dataclasses.replace(workspace.config, latents=LatentsConfig(split="compositions"))
    with pytest.raises(StageError, match="compositions"):
        stage.run(config, workspace)
    assert not workspace.directory("latents").exists()


def test_many_labels_share_one_colour_for_the_rare() -> None:
    labels = np.array([f"l{n}" for n in range(30)] + ["l29"] * 5)
    merged, order = merge_rare_labels(labels, [f"l{n}" for n in range(30)])
    assert len(order) == MOST_LABELS and order[-1] == "other"
    assert (merged == "l29").sum() == 6 and set(merged) == set(order)


@pytest.mark.parametrize(
    ("key", "value"), [("perplexity", 0.0), ("max_points", 1), ("neighbours", 0), ("clusters", 17), ("split", "")]
)
def test_impossible_settings_are_refused_by_name(key: str, value: float | str) -> None:
    with pytest.raises(ValueError, match=f"latents.{key}"):
        LatentsConfig(**{key: value})  # type: ignore[arg-type]
