"""The published baseline paints: alone, beside others, by every sampler, from a picture, and in plain `diffusers`."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.models.attention_processor import Attention

from stages.__main__ import main, parse_config
from stages.config.diffusion import DenoisingConfig
from stages.data import load_dataset, to_tensor
from stages.diffusion.text_to_image import load_from_scratch
from stages.painter import Editing
from stages.seeding import picture_seeds
from stages.workspace import Workspace

PROMPTS = ["two ships", "a windmill beside a river", "a fish"]


@pytest.fixture(params=["latent", "pixel"])
def workspace(request: pytest.FixtureRequest, tiny_run: Path, pixel_run: list[str]) -> Workspace:
    return Workspace(
        parse_config("diffusion", {"latent": ["--config", str(tiny_run)], "pixel": pixel_run}[request.param])
    )


@pytest.fixture(scope="module")
def pixel_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The tiny run, copied, with its baseline trained on pixels."""
    options = ["--config", str(tiny_run), "--checkpoints", str(tmp_path_factory.mktemp("pixels"))]
    options += ["--diffusion.space", "pixel"]
    options += ["--diffusion.channels", "[32, 32]", "--diffusion.max_steps", "4", "--diffusion.batch_size", "4"]
    own = Workspace(parse_config("diffusion", options[:2]))
    other = Workspace(parse_config("diffusion", options))
    for stage in ("blip", "vqvae", "codes"):
        shutil.copytree(own.directory(stage), other.directory(stage))
    assert main(["diffusion", *options]) == 0
    return options


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Alike but for codes that lie on the fence: quantizing may flip those."""
    return bool((first - second).abs().mean() < 0.01)


def test_a_picture_does_not_depend_on_those_beside_it(workspace: Workspace) -> None:
    paint = load_from_scratch(workspace)
    together = paint(PROMPTS, seed=1)
    assert together.shape == (3, 3, 32, 32) and together.abs().max() <= 1.5
    assert close(torch.cat([paint(PROMPTS[:1], seed=1), paint(PROMPTS[1:], seed=1, start=1)]), together)
    assert close(paint(PROMPTS, seed=1, batch_size=1), together)


@pytest.mark.parametrize("scheduler", ["DDPM", "DDIM", "DPM-Solver++"])
def test_every_sampler_paints_and_edits(workspace: Workspace, scheduler: str) -> None:
    paint = load_from_scratch(workspace)
    paint = paint.with_sampling(replace(paint.sampling, scheduler=scheduler, num_inference_steps=6))  # type: ignore[arg-type]
    image = to_tensor(load_dataset(workspace.directory("data")).images[:1])
    repaint = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    repaint[..., 16:] = True
    for editing in (None, Editing(image, repaint), Editing(image, None, 0.5)):
        assert paint(PROMPTS, seed=3, editing=editing).isfinite().all()


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_is_for_the_network_alone_and_for_machines_that_multiply_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    monkeypatch.setattr("stages.training.precision.multiplies_bfloat16", lambda _: able)
    paint = load_from_scratch(workspace)
    types, attended = set(), set()
    paint.network.conv_in.register_forward_hook(lambda _, inputs, output: types.add((inputs[0].dtype, output.dtype)))
    attention = next(layer for layer in paint.network.modules() if isinstance(layer, Attention))
    attention.to_k.register_forward_hook(lambda _, inputs, output: attended.add(output.dtype))
    exact = paint(PROMPTS, seed=1)
    rough = paint.with_sampling(replace(paint.sampling, precision="bfloat16"))(PROMPTS, seed=1)
    wide = (torch.float32, torch.float32)
    assert attended == {torch.float32}  # faster on processors
    assert types == {wide, (torch.float32, torch.bfloat16 if able else torch.float32)}
    assert close(rough, exact) and torch.equal(rough, exact) != able


def test_seeds_differ_and_strength_is_how_far_a_picture_is_varied(pixel_run: list[str]) -> None:
    """In pixels, because the tiny run's VQ-VAE has a code or two for everything."""
    workspace = Workspace(parse_config("diffusion", pixel_run))
    paint = load_from_scratch(workspace)
    assert not close(paint(PROMPTS, seed=1), paint(PROMPTS, seed=2))
    image = to_tensor(load_dataset(workspace.directory("data")).images[:1])
    little, much = (
        (paint(["two ships"], seed=0, editing=Editing(image, None, strength)) - image).square().mean().item()
        for strength in (0.1, 1.0)
    )
    assert little < 0.7 * much


def test_plain_diffusers_loads_it_and_paints_the_same(workspace: Workspace) -> None:
    paint = load_from_scratch(workspace)
    nothing_of_its_own = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    pipeline = DiffusionPipeline.from_pretrained(workspace.directory("diffusion"), **nothing_of_its_own)
    text = paint.blip.encode_text(PROMPTS[:1]).tokens.float()
    x_0 = pipeline(
        prompt_embeds=text,
        negative_prompt_embeds=torch.zeros_like(text),
        num_inference_steps=8,
        guidance_scale=2.0,
        generator=[torch.Generator().manual_seed(seed) for seed in picture_seeds(5, 1, 0)],
        output_type="latent",
    ).images
    sampling = DenoisingConfig(scheduler="DDPM", num_inference_steps=8, guidance_scale=2.0)  # the published scheduler
    assert close(paint.space.to_image(x_0), paint.with_sampling(sampling)(PROMPTS[:1], seed=5))


def test_changing_how_it_paints_trains_nothing_again(workspace: Workspace) -> None:
    options = ["--config", "configs/smoke.yaml", "--diffusion.sampling.guidance_scale"]
    few, many = (parse_config("diffusion", [*options, scale]).diffusion.fingerprint() for scale in ("1.0", "5.0"))
    assert few == many
