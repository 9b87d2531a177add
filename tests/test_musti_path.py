"""The shipped configs of MUSTI, from its JSON files to the report, on pictures of `scenes` in its record layout.

Nothing of the stages is left out or replaced: files as the organisers hand them out, pictures by url from a server, a
checkpoint that BLIP starts from. Networks and budgets alone are made small.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.__main__ import main, parse_config
from stages.data import PreparedSet, load_dataset
from stages.pipeline import STAGES
from stages.workspace import Workspace
from tests.data.musti.server import Handler, PictureServer
from tests.evaluation.schema import violations

SMALL = {
    "data.image_size": 32,
    "blip": {"max_steps": 2, "batch_size": 4, "val_every": 1, "queue_size": 0, "image_size": 32},
    "vqvae": {
        **{"channels": 16, "residual_channels": 8, "embedding_dim": 8, "codebook_size": 16},
        **{"max_steps": 3, "batch_size": 8, "val_every": 2},
    },
    "prior.top": {"channels": 16, "residual_channels": 16, "blocks": 1, "heads": 2, "max_steps": 2, "batch_size": 4},
    "prior.bottom": {"channels": 16, "residual_channels": 16, "blocks": 1, "heads": 2, "max_steps": 2, "batch_size": 4},
    "prior": {"val_every": 1},
    "diffusion": {"channels": "[32, 32]", "layers_per_block": 1, "max_steps": 2, "batch_size": 4, "val_every": 1},
    "diffusion.sampling": {"num_inference_steps": 2},
    "samples": {"captions": 2, "pictures": 2},
    "evaluation": {"bootstrap_repeats": 100, "sweep.prompts": 2, "sweep.guidance_scales": "[1]"},
}
UNTITLED, DEAD = 3, 5
"""Pairs of train without a title, as MUSTI writes it, and with a link that answers with a page."""


def options(folder: Path, tiny: Workspace, config: str) -> list[str]:
    """Of every stage."""
    found = ["--config", f"configs/{config}.yaml", "--datasets", str(folder), "--checkpoints", str(folder / "runs")]
    for section, settings in SMALL.items():
        each = settings if isinstance(settings, dict) else {"": settings}
        found += [part for name, value in each.items() for part in (f"--{section}.{name}".rstrip("."), str(value))]
    musti = {name: folder / f"musti-{name}.json" for name in ("train", "test")}
    musti |= {"cache": folder / "cache"}
    found += [part for name, value in musti.items() for part in (f"--data.musti.{name}", str(value))]
    for name, kind in (("pretrained", "retrieval"), ("pretrained_captioner", "captioner")):
        found += [f"--blip.{name}", str(tiny.directory("blip") / kind)]
    return [*found, "--data.musti.allow_private_addresses", "true", "--data.musti.retries", "0"]


@pytest.fixture
def server() -> Iterator[PictureServer]:
    server = PictureServer()
    yield server
    server.close()


def serve(server: PictureServer, pictures: np.ndarray) -> None:
    """Each picture under its number; one link is dead, as so many of MUSTI's are."""

    def answer(handler: Handler, picture: np.ndarray) -> None:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        handler.reply(file.getvalue())

    for number, picture in enumerate(pictures):
        server.pages[f"/{number}.png"] = lambda handler, picture=picture: answer(handler, picture)  # type: ignore[misc]
    server.pages[f"/{DEAD}.png"] = lambda handler: handler.reply(b"<html>moved</html>", kind="text/html")


def write_pairs(folder: Path, server: PictureServer, scenes: PreparedSet) -> None:
    """Train: 40 pictures. Test: 10 pairs, all but two of train's pictures, as most of the official ones are."""

    def pair(number: int, title: str) -> dict[str, Any]:
        return {
            **{"id": number, "image": server.url(f"/{number}.png"), "language": "en", "subtask1_label": "YES"},
            **{"subtask2_labels": ["fish"], "text": f"Passage {number} of a book.", "title": title},
        }

    titles = [record.caption for record in scenes.records]
    train = [pair(number, "nan" if number == UNTITLED else titles[number]) for number in range(40)]
    test = [pair(number, f"{titles[number]}, seen again") for number in (*range(10, 18), 40, 41)]
    for name, pairs in (("train", train), ("test", test)):
        (folder / f"musti-{name}.json").write_text(json.dumps({"pairs": pairs}))


@pytest.mark.parametrize("config", ["musti", "paper"])
def test_every_stage_runs_from_the_shipped_config(
    config: str, tiny_run: Path, tmp_path: Path, server: PictureServer
) -> None:
    tiny = Workspace(parse_config("blip", ["--config", str(tiny_run)]))
    scenes = load_dataset(tiny.directory("data"))
    serve(server, scenes.images[:42])
    write_pairs(tmp_path, server, scenes)
    settings = options(tmp_path, tiny, config)
    for stage in STAGES:
        assert main([stage, *settings]) == 0, stage

    own = Workspace(parse_config("report", settings))
    metrics = json.loads((own.directory("evaluation") / "metrics.json").read_text())
    assert violations(metrics) == []
    assert len(load_dataset(own.directory("data")).images) == 40  # 42 but for the dead link and the one without a title
    official = config == "paper"
    assert metrics["prompts"]["pictures_in_train"] == (8 if official else 0)
    assert metrics["published"]["prior"]["meteor"]["value"] is not None

    report = (own.directory("report") / "report.md").read_text()
    table = report[report.index("## Published figures, and ours") :].split("##")[1]
    rows = {cells[1]: cells[2:5] for line in table.splitlines() if (cells := [c.strip() for c in line.split("|")])[1:]}
    assert len(rows) == 2 + 16
    assert rows["BLEU"][0] == "0.47138" and rows["VQ-VAE PSNR, dB"][0] == "6.5799"
    ran = [name for name, (_, same, sound) in rows.items() if "not" not in same + sound]
    assert {"BLEU", "METEOR", "ROUGE-1", "ROUGE-L", "VQ-VAE MSE", "VQ-VAE PSNR, dB"} <= set(ran)
    assert {name for name in rows if name.startswith("BLIP")} <= set(ran)
    assert ("8 of its 10 prompts show a picture that train has too" in table) == official
    assert ("8 of 10 test pairs show a picture that is also in train" in report) == official
