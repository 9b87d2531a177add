"""Latents go to codes and back, no two of their channels say the same, and a damaged file is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.__main__ import parse_config
from stages.codes import CodeStore
from stages.diffusion.pairs import codes_of
from stages.diffusion.spaces import LatentSpace, PixelSpace, load_space, nearest_codes, stack_levels
from stages.errors import StageError
from stages.vqvae import VQVAE, Codes, load_vqvae
from stages.workspace import Workspace


@pytest.fixture
def vqvae(tiny_run: Path) -> VQVAE:
    return load_vqvae(workspace_of(tiny_run).require("vqvae"))


@pytest.fixture
def codes(tiny_run: Path) -> Codes:
    split = CodeStore.open(workspace_of(tiny_run).require("codes")).read("test")
    return codes_of(split, np.arange(len(split)))


def workspace_of(run: Path) -> Workspace:
    return Workspace(parse_config("diffusion", ["--config", str(run)]))


def test_channels_are_uncorrelated_and_few(vqvae: VQVAE, codes: Codes) -> None:
    space = LatentSpace.measured(vqvae, codes)
    channels = space.from_codes(codes).movedim(1, 0).flatten(1)  # (C,n)
    assert space.channels == len(channels) <= 2 * vqvae.sizes.embedding_dim
    covariance = channels.cov(correction=0).reshape(space.channels, space.channels)
    torch.testing.assert_close(covariance, covariance.diag().diag(), atol=1e-3, rtol=0)
    assert covariance.diag().mean().item() == pytest.approx(1, abs=1e-3)
    assert channels.mean(dim=1).abs().max() < 1e-3


def test_what_is_dropped_hardly_moves_the_picture(vqvae: VQVAE, codes: Codes) -> None:
    space = LatentSpace.measured(vqvae, codes)
    picture = vqvae.decode(codes)
    rebuilt = space.to_image(space.from_codes(codes))
    assert (rebuilt - picture).square().mean() < 0.02 * picture.var()


def test_a_space_is_the_same_when_loaded(vqvae: VQVAE, codes: Codes, tmp_path: Path) -> None:
    space = LatentSpace.measured(vqvae, codes)
    space.save(tmp_path)
    loaded = load_space(tmp_path, vqvae)
    assert (loaded.channels, loaded.side) == (space.channels, space.side)
    assert torch.equal(loaded.to_image(space.from_codes(codes)), space.to_image(space.from_codes(codes)))


def test_pixels_are_themselves(tmp_path: Path, vqvae: VQVAE) -> None:
    PixelSpace(32).save(tmp_path)
    space = load_space(tmp_path, vqvae)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    assert (space.channels, space.side) == (3, 32)
    assert torch.equal(space.to_image(space.from_image(image, torch.zeros(2, 4))), image)
    assert space.to_image(image * 5).abs().max() <= 1


def test_nearest_codes_is_the_nearest() -> None:
    book = torch.randn(7, 4)
    indices = torch.randint(0, 7, (2, 3, 3))
    noisy = torch.nn.functional.embedding(indices, book).movedim(-1, 1) + 1e-3
    assert torch.equal(nearest_codes(noisy, book), indices)


def test_levels_are_stacked_bottom_first(vqvae: VQVAE, codes: Codes) -> None:
    stacked = stack_levels(vqvae, codes)
    dim = vqvae.sizes.embedding_dim
    torch.testing.assert_close(stacked[:, :dim, 3, 5], vqvae.embed_bottom(codes.bottom[:, 3, 5]))
    torch.testing.assert_close(stacked[:, dim:, 3, 5], vqvae.embed_top(codes.top[:, 1, 2]))


@pytest.mark.parametrize("content", [None, "{", json.dumps({"name": "latent", "mean": [0.0]})])
def test_a_damaged_space_is_named(content: str | None, tmp_path: Path, vqvae: VQVAE) -> None:
    if content is not None:
        (tmp_path / "space.json").write_text(content)
    with pytest.raises(StageError, match=r"space\.json cannot be read .*; run: make diffusion"):
        load_space(tmp_path, vqvae)
