"""Tiny checkpoints, a small set of coloured pictures, and a run whose baseline is a tuned checkpoint."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from stages.__main__ import main
from stages.data import PreparedSet, Record
from tests.diffusion.pretrained.tiny import make_checkpoint

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "yellow": (220, 210, 50)}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that predicts eps; not to be changed."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def checkpoint_v(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that predicts v; not to be changed."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint-v") / "tiny", "v_prediction")


@pytest.fixture
def own_checkpoint(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that a test may change."""
    return shutil.copytree(checkpoint, tmp_path / "own")


@pytest.fixture(scope="session")
def dataset() -> PreparedSet:
    """24 pictures of 32 x 32 in one colour each, 18 of them train, with their captions."""
    rng = np.random.default_rng(0)
    names = [*COLOURS] * 6
    ground = np.array([COLOURS[name] for name in names])[:, None, None]
    images = (ground + rng.integers(-30, 30, (24, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    splits = ["train"] * 18 + ["val"] * 6
    records = [
        Record(row, row, f"all {name}", f"{row}.png", split, str(row), None)
        for row, (name, split) in enumerate(zip(names, splits, strict=True))
    ]
    return PreparedSet(Path("."), images, records, 32, None)


@pytest.fixture(scope="session")
def tuned_run(tiny_run: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a copy of `tiny_run` whose baseline is the tiny checkpoint, tuned for a few steps."""
    folder = tmp_path_factory.mktemp("tuned")
    shutil.copytree(tiny_run.parent / "checkpoints", folder, dirs_exist_ok=True)
    options = ["--config", str(tiny_run), "--checkpoints", str(folder), "--diffusion.pretrained", str(checkpoint)]
    options += ["--diffusion.max_steps", "6", "--diffusion.lr", "0.02", "--diffusion.lora_alpha", "16"]
    options += ["--diffusion.sampling.num_inference_steps", "4"]
    assert main(["diffusion", *options]) == 0
    return options
