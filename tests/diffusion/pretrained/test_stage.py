"""The stage tunes a checkpoint, publishes its updates alone, and paints as plain diffusers does with them."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from stages.__main__ import main, parse_config
from stages.diffusion import load_diffusion
from stages.diffusion.pretrained import TunedTextToImage
from stages.errors import StageError
from stages.painter import Editing
from stages.seeding import picture_seeds
from stages.workspace import Workspace

Scheduler = Literal["DDPM", "DDIM", "DPM-Solver++"]
PLAIN = {"DDPM": DDPMScheduler, "DDIM": DDIMScheduler, "DPM-Solver++": DPMSolverMultistepScheduler}
PROMPTS = ["two ships", "a windmill", "a fish"]


def open_run(options: list[str]) -> Workspace:
    return Workspace(parse_config("diffusion", options))


@pytest.fixture
def painter(tuned_run: list[str]) -> TunedTextToImage:
    painter = load_diffusion(open_run(tuned_run))
    assert isinstance(painter, TunedTextToImage)
    return painter


@pytest.fixture
def plain(checkpoint: Path, tuned_run: list[str]) -> StableDiffusionPipeline:
    """Plain diffusers: the base checkpoint, the published updates."""
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None)
    pipeline.load_lora_weights(open_run(tuned_run).require("diffusion"))
    return pipeline


def as_published(images: Tensor) -> Tensor:
    """Pictures (B,3,16,16) in [0,1] of the checkpoint's size as (B,3,32,32) in [-1,1]."""
    return F.interpolate(images * 2 - 1, size=(32, 32), mode="bicubic", antialias=True).clamp(-1, 1)


def some_picture() -> Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_the_updates_and_what_they_belong_to_are_published_and_nothing_else(
    tuned_run: list[str], checkpoint: Path
) -> None:
    workspace = open_run(tuned_run)
    folder = workspace.require("diffusion")
    names = {path.name for path in folder.iterdir()}
    assert names == {"pytorch_lora_weights.safetensors", "base.json", "curves.jsonl", "manifest.json"}
    with safe_open(folder / "pytorch_lora_weights.safetensors", "pt") as weights:
        assert all(name.startswith("unet.") and ".lora" in name for name in weights.keys())  # noqa: SIM118
        trained = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118
    base = json.loads((folder / "base.json").read_text())
    assert (base["name"], base["picture_side"], base["image_size"]) == (str(checkpoint), 16, 32)
    figures = workspace.manifest("diffusion")["figures"]
    untuned = StableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None).unet.num_parameters()
    assert (figures["trained_parameters"], figures["parameters"]) == (trained, untuned + trained)
    assert figures["pictures_seen"] == 6 * 8
    assert figures["checkpoint"] == str(checkpoint) and figures["checkpoint_sha256"] == base["sha256"]["unet"]
    assert figures["checkpoint_licence"] == "creativeml-openrail-m"
    assert figures["val_loss"] > 0 and figures["val_loss_shuffled"] > 0
    logged = (folder / "curves.jsonl").read_text()
    assert '"val/loss"' in logged and '"val/loss_shuffled"' in logged and '"train/loss"' in logged


def test_it_is_up_to_date_afterwards(tuned_run: list[str]) -> None:
    assert open_run(tuned_run).why_stale("diffusion") is None


@pytest.mark.parametrize("name", get_args(Scheduler))
def test_plain_diffusers_paints_the_same_pictures(
    plain: StableDiffusionPipeline, painter: TunedTextToImage, name: Scheduler
) -> None:
    ours = TunedTextToImage(painter.pipeline, 32, dataclasses.replace(painter.sampling, scheduler=name))
    plain.scheduler = PLAIN[name].from_config(plain.scheduler.config, clip_sample=False)
    images = plain(
        PROMPTS,
        generator=[torch.Generator().manual_seed(seed) for seed in picture_seeds(7, 3)],
        num_inference_steps=4,
        guidance_scale=painter.sampling.guidance_scale,
        output_type="pt",
    ).images
    painted = ours(PROMPTS, seed=7)
    assert painted.shape == (3, 3, 32, 32) and painted.abs().max() <= 1
    torch.testing.assert_close(painted, as_published(images), atol=1e-5, rtol=0)


def test_tuning_changed_the_pictures(painter: TunedTextToImage) -> None:
    tuned = painter(PROMPTS, seed=7)
    painter.pipeline.disable_lora()
    untuned = painter(PROMPTS, seed=7)
    painter.pipeline.enable_lora()
    assert (tuned - untuned).abs().mean() > 0.01
    torch.testing.assert_close(painter(PROMPTS, seed=7), tuned)


def test_a_picture_depends_on_its_prompt_seed_and_number_alone(painter: TunedTextToImage) -> None:
    image, mask = some_picture(), torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    mask[..., :16] = True
    for paint in (
        painter,
        lambda prompts, **options: painter(prompts, **options, editing=Editing(image, mask, 0.8)),
        lambda prompts, **options: painter(prompts, **options, editing=Editing(image, None, 0.8)),
    ):
        together = paint(PROMPTS, seed=1)
        assert together.shape == (3, 3, 32, 32)
        parts = torch.cat([paint(PROMPTS[:1], seed=1), paint(PROMPTS[1:], seed=1, start=1, batch_size=1)])
        torch.testing.assert_close(parts, together, atol=1e-5, rtol=0)
        assert not torch.allclose(paint(PROMPTS, seed=2), together, atol=1e-2)


def test_repainting_leaves_the_rest_as_it_is_and_hears_the_picture(painter: TunedTextToImage) -> None:
    image, mask = some_picture(), torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    mask[..., 5:9, 7] = True
    for strength in (1.0, 0.5):
        painted = painter(PROMPTS, seed=1, editing=Editing(image, mask, strength))
        kept = ~mask.expand_as(painted)
        assert torch.equal(painted[kept], image.expand_as(painted)[kept])
        assert (painted - image)[~kept].abs().max() > 0.01
    mask[...] = False
    assert torch.equal(painter(PROMPTS[:1], editing=Editing(image, mask)), image)


def test_the_mask_grows_to_whole_places_of_the_latents(painter: TunedTextToImage) -> None:
    mask = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    mask[..., 9, 14] = True  # of 32 pixels; a latent is 4 of them wide
    large = painter._stock_mask(mask)
    expected = torch.zeros(1, 1, 16, 16)
    expected[..., 4:6, 6:8] = 1
    assert torch.equal(large, expected)


def test_varying_is_the_stock_pipelines(painter: TunedTextToImage, plain: StableDiffusionPipeline) -> None:
    image = some_picture()
    plain.scheduler = DPMSolverMultistepScheduler.from_config(plain.scheduler.config, algorithm_type="dpmsolver++")
    stock = StableDiffusionImg2ImgPipeline(**plain.components, requires_safety_checker=False)
    small = F.interpolate(image, size=(16, 16), mode="bicubic", antialias=True).clamp(-1, 1)
    images = stock(
        PROMPTS[:1],
        image=small / 2 + 0.5,
        strength=0.5,
        generator=[torch.Generator().manual_seed(picture_seeds(7, 1)[0])],
        num_inference_steps=4,
        guidance_scale=painter.sampling.guidance_scale,
        output_type="pt",
    ).images
    varied = painter(PROMPTS[:1], seed=7, editing=Editing(image, None, 0.5))
    torch.testing.assert_close(varied, as_published(images), atol=1e-5, rtol=0)
    assert not torch.allclose(painter(PROMPTS[:1], seed=7, editing=Editing(image, None, 1.0)), varied, atol=1e-2)


@pytest.mark.parametrize("strength", [0.0, 0.2, 1.1])  # of four steps
def test_a_strength_that_leaves_no_step_is_refused(painter: TunedTextToImage, strength: float) -> None:
    with pytest.raises(StageError, match=rf"strength must be in .* got {strength}"):
        painter(PROMPTS, editing=Editing(some_picture(), None, strength))
    with pytest.raises(StageError, match=rf"strength must be in .* got {strength}"):
        painter(PROMPTS, editing=Editing(some_picture(), torch.ones(1, 1, 32, 32, dtype=torch.bool), strength))


def test_another_base_checkpoint_is_told_with_both_digests(
    tiny_run: Path, own_checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run.parent / "checkpoints", tmp_path / "run")
    options = ["--config", str(tiny_run), "--checkpoints", str(tmp_path / "run")]
    options += ["--diffusion.pretrained", str(own_checkpoint)]
    assert main(["diffusion", *options]) == 0
    workspace = open_run(options)
    path = own_checkpoint / "unet" / "config.json"
    path.write_text(path.read_text() + "\n")
    known = workspace.manifest("diffusion")["figures"]["checkpoint_sha256"]
    with pytest.raises(StageError, match=rf"unet is not what was tuned \(sha256 [0-9a-f]{{64}} there, {known} in"):
        load_diffusion(workspace)
    shutil.rmtree(own_checkpoint)
    with pytest.raises(StageError, match="there is no folder"):
        load_diffusion(workspace)


def test_a_stopped_tuning_does_not_go_on_with_another_checkpoint(
    tiny_run: Path, own_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_run.parent / "checkpoints", tmp_path / "run")
    options = ["--config", str(tiny_run), "--checkpoints", str(tmp_path / "run")]
    options += ["--diffusion.pretrained", str(own_checkpoint), "--diffusion.lr", "1e9"]
    assert main(["diffusion", *options, "--diffusion.max_steps", "10"]) == 2
    assert "the training loss became" in capsys.readouterr().err
    path = own_checkpoint / "vae" / "config.json"
    path.write_text(path.read_text() + "\n")
    assert main(["diffusion", *options, "--diffusion.max_steps", "10"]) == 2
    assert "vae is not what was tuned" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--diffusion.pretrained", "/nowhere/at/all"], "diffusion.pretrained: there is no folder /nowhere/at/all"),
        (["--diffusion.lora_rank", "0"], "diffusion.lora_rank must be at least 1, got 0"),
        (["--diffusion.lora_alpha", "0"], "diffusion.lora_alpha must be at least 1, got 0"),
        (["--diffusion.pretrained_revision", "v1"], "diffusion.pretrained_revision needs diffusion.pretrained"),
        (
            ["--diffusion.pretrained", "x", "--diffusion.sampling.guidance_scale", "0.5"],
            "diffusion.sampling.guidance_scale must be",
        ),
    ],
)
def test_what_cannot_be_is_one_line_naming_the_key(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    assert main(["diffusion", "--config", str(tiny_run), *options]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("error: ") == 1


def test_a_baseline_from_scratch_does_without_the_pipelines() -> None:
    """Stable Diffusion's pipelines, and all that they import, are loaded for a checkpoint only."""
    heavy = ("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "stages.diffusion.pretrained")
    code = f"import sys, stages.diffusion.stage; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
