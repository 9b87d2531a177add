"""Shared by all rooms' tests. `stages` comes first: it makes torchvision importable beside a CPU-only torch."""

import shutil
from pathlib import Path
from typing import get_args

import pytest

import stages  # noqa: F401
from stages.config.prior import TextForm

TINY = """
checkpoints: {folder}/checkpoints
datasets: {folder}/data
data:
  name: tiny
  image_size: 32
  scenes: {{train: 48, val: 8, test: 8, compositions: 8}}
blip: {{max_steps: 2, batch_size: 8, vision_width: 32, vision_layers: 1, text_width: 32, text_layers: 1}}
vqvae: {{channels: 16, residual_channels: 8, embedding_dim: 8, codebook_size: 16, max_steps: 3, batch_size: 16}}
prior:
  top: {{channels: 16, residual_channels: 16, blocks: 1, heads: 2, max_steps: 2, batch_size: 8}}
  bottom: {{channels: 16, residual_channels: 16, blocks: 1, heads: 2, context_blocks: 1, max_steps: 2, batch_size: 8}}
diffusion: {{channels: [32, 32], max_steps: 2, batch_size: 8, sampling: {{num_inference_steps: 2}}}}
samples: {{captions: 2, pictures: 2}}
evaluation: {{sweep: {{prompts: 4, guidance_scales: [1, 2], temperatures: [0, 1]}}}}
"""


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a run whose stages up to `diffusion` were made with two or three steps each, at 32 px."""
    from stages.__main__ import main

    folder = tmp_path_factory.mktemp("tiny")
    config = folder / "tiny.yaml"
    config.write_text(TINY.format(folder=folder))
    for stage in ("data", "blip", "vqvae", "codes", "prior", "diffusion"):
        assert main([stage, "--config", str(config)]) == 0, stage
    return config


@pytest.fixture(scope="session")
def viewed_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a copy of `tiny_run` whose store has two shifted views of each train picture."""
    views = ["--codes.shifted_views", "2", "--codes.shift", "3"]
    return _copy_with_another(tiny_run, tmp_path_factory.mktemp("viewed"), "codes", views)


@pytest.fixture(scope="session", params=get_args(TextForm))
def text_run(request: pytest.FixtureRequest, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a copy of `tiny_run` whose prior reads this form of the captions."""
    return _copy_with_another(
        tiny_run, tmp_path_factory.mktemp(request.param), "prior", ["--prior.text", request.param]
    )


def _copy_with_another(tiny_run: Path, folder: Path, stage: str, changes: list[str]) -> list[str]:
    from stages.__main__ import main

    shutil.copytree(tiny_run.parent / "checkpoints", folder, dirs_exist_ok=True)
    options = ["--config", str(tiny_run), "--checkpoints", str(folder), *changes]
    assert main([stage, *options]) == 0
    return options
