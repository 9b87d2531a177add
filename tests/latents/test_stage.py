"""The stage on small real artefacts: pictures, an untrained VQ-VAE, its codes in LMDB."""

import csv
import dataclasses
import json
import re
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plotly.offline import get_plotlyjs

from stages.codes import CodeRecords, CodeWriter, Schema
from stages.config import RunConfig
from stages.config.latents import LatentsConfig
from stages.data import load_dataset, to_tensor
from stages.data.prepared import PreparedWriter
from stages.errors import StageError
from stages.latents import scatter, stage
from stages.latents.colourings import Colouring
from stages.latents.style import legend_name
from stages.latents.views import View
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
COORDINATES = 2 * (2 + 2 + 4) + 4
"""PCA and t-SNE of top, bottom, pictures and captions together; and a second t-SNE of these, which are more points."""
TABLES = ("coordinates", "views", "explained_variance", "code_usage", "co_occurrence")


def publish_run(
    root: Path,
    test_pictures: int,
    *,
    attributes: bool,
    captions: int = 1,
    said: str = "picture",
    sizes: VQVAESizes = SIZES,
) -> Workspace:
    """A run's artefacts up to `codes`: a few pictures, `captions` pairs of each."""
    workspace = Workspace(RunConfig(run="tiny", checkpoints=str(root / "checkpoints"), datasets=str(root / "data")))
    rng = np.random.default_rng(0)
    with workspace.publish("data") as output:
        writer = PreparedWriter(output.directory, sizes.image_size)
        images = writer.allocate(test_pictures + 2)
        images[:] = rng.integers(0, 256, images.shape)
        for row in range(len(images)):
            split = "train" if row < 2 else "test"
            true = {"subject": ("ship", "fish")[row % 2]} if attributes else None
            for number in range(captions):
                caption = f"{said} {row}, told {number} times"
                writer.add(row, caption, file_name=f"{row}.png", split=split, group=f"g{row}", attributes=true)
        writer.close({"subject": ["ship", "fish"]} if attributes else None)
    with workspace.publish("blip"):
        pass
    torch.manual_seed(0)
    network = VQVAE(sizes).eval()
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
    sizes = network.sizes
    schema = Schema(sizes.top_side, sizes.bottom_side, sizes.text_codes, sizes.codebook_size, "", "")
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


def table(workspace: Workspace, name: str = "coordinates") -> list[dict[str, str]]:
    with (workspace.directory("latents") / f"{name}.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def page_data(page: str) -> dict[str, Any]:
    """What the interactive page draws from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_every_picture_has_all_its_coordinates_and_its_record(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 12, attributes=True, captions=2)
    stage.run(workspace.config, workspace)
    rows = table(workspace)
    assert [row["file_name"] for row in rows] == [f"{row}.png" for row in range(2, 14)]  # once, though told twice
    assert {row["label_subject"] for row in rows} == {"ship", "fish"}
    assert rows[0]["caption"] == "picture 2, told 0 times" and rows[0]["record_id"] == "4"
    for row in rows:
        values = [float(value) for name, value in row.items() if name.startswith(("pca_", "tsne_"))]
        assert len(values) == COORDINATES and np.isfinite(values).all()
    figures = workspace.manifest("latents")["figures"]
    assert figures["pictures"] == 12 and figures["pairs"] == 24
    assert figures["retrieval_r10_chance"] == pytest.approx(10 / 12)
    for name in ("trustworthiness", "knn_agreement", "label_agreement_top", "usage_top", "explained_variance_10_top"):
        assert 0 <= figures[name] <= 1
    assert 0 <= figures["mutual_information_chance"] <= figures["mutual_information"] + 0.2 <= 1.2
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
    assert "perplexity 2.33 (clipped from 30)" in said[0] and "n = 8 pictures" in said[0]
    assert all(row["label_cluster_top"].startswith("cluster") for row in table(workspace))


def test_two_pictures_go_without_tsne_and_one_is_refused(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path / "two", 2, attributes=True)
    stage.run(workspace.config, workspace)
    figures = workspace.manifest("latents")["figures"]
    assert figures["trustworthiness"] is None and "at least 4 pictures" in figures["tsne_reason"]
    assert not any(name.startswith("tsne") for name in table(workspace)[0])
    assert (workspace.directory("latents") / "pca_joint.png").is_file()
    workspace = publish_run(tmp_path / "one", 1, attributes=True)
    with pytest.raises(StageError, match="needs at least 2"):
        stage.run(workspace.config, workspace)


def test_more_pictures_than_wanted_are_drawn_by_seed(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 12, attributes=True, captions=2)
    config = dataclasses.replace(workspace.config, latents=LatentsConfig(max_points=6))
    stage.run(config, workspace)
    names = [row["file_name"] for row in table(workspace)]
    assert len(names) == len(set(names)) == 6
    figures = workspace.manifest("latents")["figures"]
    assert figures["pictures"] == 6 and figures["pictures_available"] == 12 and figures["pairs"] == 24
    usage = table(workspace, "code_usage")
    assert sum(int(row["top"]) for row in usage) == 12 * 2 * 2  # of all pictures, each once
    assert sum(int(row["caption"]) for row in usage) % 24 == 0  # and of all captions
    for plot in figures["plots"]:
        said = "n = 6 of 12 pictures drawn by seed" in plot["caption"]
        assert said or plot["file"] == "code_sheet.png", plot["caption"]
    assert "6 of 12 pictures drawn by seed" in (workspace.directory("latents") / "interactive.html").read_text()


def test_a_large_code_book(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 12, attributes=True, sizes=dataclasses.replace(SIZES, codebook_size=65536))
    config = dataclasses.replace(workspace.config, latents=LatentsConfig(perplexities=(3.0,), heatmap_codes=20))
    started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stage.run(config, workspace)  # with a matrix of all codes by all codes it would take 32 GiB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started < 300 << 10  # KiB
    assert len(table(workspace, "code_usage")) == 65536
    shown = table(workspace, "co_occurrence")
    assert 0 < len({row["top_code"] for row in shown}) <= 20 and 0 < len({row["bottom_code"] for row in shown}) <= 20


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 4, attributes=True)
    config = dataclasses.replace(workspace.config, latents=LatentsConfig(split="compositions"))
    with pytest.raises(StageError, match="compositions"):
        stage.run(config, workspace)
    assert not workspace.directory("latents").exists()


def test_the_tables_hold_everything_once(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 12, attributes=True)
    config = dataclasses.replace(workspace.config, latents=LatentsConfig(perplexities=(3.0, 2.0, 1.5, 30.0, 3.666)))
    stage.run(config, workspace)
    views = table(workspace, "views")
    assert {row["colouring"] for row in views} == {"subject", "cluster_top", "cluster_bottom"}
    assert {row["seed"] for row in views} == {str(config.seed)}
    found = list(dict.fromkeys(row["view"] for row in views))
    assert len(views) == 3 * len(found)  # of twelve points 30 is clipped to 3.6667, which is named as 3.666 is
    assert len(found) == 3 * 5 + 1
    assert {"pca_top", "tsne_bottom_p1.5", "tsne_top_p3.67", "tsne_joint_p7.67"} <= set(found)
    columns = table(workspace)[0].keys()
    for name in found:
        kinds = ("_picture", "_caption") if "_joint" in name else ("",)
        assert {f"{name}{kind}_{axis}" for kind in kinds for axis in (1, 2)} <= columns
    usage = table(workspace, "code_usage")
    assert [int(row["code"]) for row in usage] == list(range(16))
    positions = {"top": 12 * 2 * 2, "bottom": 12 * 4 * 4, "caption": 12 * 3}
    assert {level: sum(int(row[level]) for row in usage) for level in positions} == positions
    assert sum(int(row["count"]) for row in table(workspace, "co_occurrence")) == positions["bottom"]
    shares = [float(row["share"]) for row in table(workspace, "explained_variance") if row["level"] == "top"]
    assert sum(shares) == pytest.approx(1, abs=1e-4)


def test_the_same_seed_gives_the_same_coordinates(tmp_path: Path) -> None:
    workspace = publish_run(tmp_path, 12, attributes=False)
    written = []
    for seed in (5, 5, 6):
        config = dataclasses.replace(workspace.config, seed=seed, latents=LatentsConfig(max_points=9))
        stage.run(config, Seedless(config))
        folder = workspace.directory("latents")
        written.append([(folder / f"{name}.csv").read_bytes() for name in TABLES])
    assert written[0] == written[1]
    assert written[0][0] != written[2][0]  # another nine pictures


class Seedless(Workspace):
    """A workspace whose inputs are taken as they are, though another seed made them."""

    def require(self, stage: str) -> Path:
        return self.directory(stage)


def test_labels_that_matplotlib_would_take_for_more_than_text(tmp_path: Path) -> None:
    labels = np.array(["_hidden", "$\\frac{", "_also"] * 3)
    colouring = Colouring("group", "odd $ groups", labels, ["_hidden", "$\\frac{", "_also"])
    view = View("top", None, None, np.random.default_rng(0).standard_normal((9, 2)), 1.0, 1.0, 4, ("a", "b"))
    said = scatter.plot_view(tmp_path / "one.png", view, colouring, drawn="9 pictures", seed=0)
    scatter.plot_colourings(tmp_path / "panels.png", view, [colouring], drawn="9 pictures", seed=0)
    assert "odd $ groups" in said and (tmp_path / "panels.png").read_bytes()[:4] == b"\x89PNG"
    assert legend_name("_hidden") == " _hidden" and legend_name("shown") == "shown"


def test_the_interactive_page_escapes_captions_and_fetches_nothing(tmp_path: Path) -> None:
    evil = '</script><script>alert("x")</script><img src=http://evil.example/x onerror=alert(1)>'
    workspace = publish_run(tmp_path, 9, attributes=True, said=evil)
    config = dataclasses.replace(workspace.config, latents=LatentsConfig(thumbnails=4))
    stage.run(config, workspace)
    page = (workspace.directory("latents") / "interactive.html").read_text(encoding="utf-8")
    data = page_data(page)
    assert data["captions"] == [row["caption"] for row in table(workspace)] and evil in data["captions"][0]
    own = page.replace(get_plotlyjs(), "")
    assert "<script>alert" not in own and "<img src=http" not in own
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", own) == []
    assert "default-src 'none'" in own and "connect-src" not in own  # so the browser refuses what plotly could ask for
    assert [thumbnail is not None for thumbnail in data["thumbnails"]].count(True) == 4
    assert "embedded for 4 of the 9 points" in own
    assert {view["level"] for view in data["views"]} == {"top", "bottom", "joint"}
    for view in data["views"]:
        assert len(view["x"]) == len(view["y"]) == (18 if view["level"] == "joint" else 9)
        assert "trustworthiness" in view["judgement"] and len(view["same_label"]) == len(data["colourings"])
    for colouring in data["colourings"]:
        assert len(colouring["labels"]) == 9 and max(colouring["labels"]) < len(colouring["order"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("perplexities", ()),
        ("perplexities", (30.0, 0.0)),
        ("perplexities", (5.0, 5.0)),
        ("perplexities", (30.0, 30.0001)),
        ("perplexities", (float("nan"),)),
        ("max_points", 1),
        ("max_points", 5001),
        ("neighbours", 0),
        ("clusters", ()),
        ("clusters", (4, 17)),
        ("clusters", (1,)),
        ("thumbnails", -1),
        ("heatmap_codes", 1),
        ("sheet_codes", 0),
        ("split", ""),
    ],
)
def test_impossible_settings_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"latents.{key}"):
        LatentsConfig(**{key: value})  # type: ignore[arg-type]
