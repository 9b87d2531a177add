"""A checkpoint's pipeline: frozen, refused where its parts do not fit, and its updates are plain diffusers' own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from stages.diffusion.network import SCHEDULERS
from stages.diffusion.pretrained.checkpoint import find_checkpoint
from stages.diffusion.pretrained.pipeline import (
    ATTENTION,
    add_lora,
    check_steps,
    choose_scheduler,
    load_lora,
    load_pipeline,
    picture_side,
    resize,
    save_lora,
    training_chain,
)
from stages.errors import StageError
from tests.diffusion.pretrained.tiny import TEXT_LENGTH, make_checkpoint


def load(folder: Path) -> StableDiffusionPipeline:
    return load_pipeline(find_checkpoint(str(folder)))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def denoise(unet: nn.Module) -> Tensor:
    """What a U-Net of these sizes predicts for some latents and text."""
    generator = torch.Generator().manual_seed(0)
    latents, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 5, 32, generator=generator)
    with torch.no_grad():
        predicted: Tensor = unet(latents, 500, encoder_hidden_states=text).sample
    return predicted


def randomise(unet: nn.Module) -> None:
    """Gives the updates something to do: the second of their matrices starts at 0."""
    for number, (name, weight) in enumerate(unet.named_parameters()):
        if ".lora_B." in name:
            nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(number))


def test_it_is_frozen_in_float32_and_quiet(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = load(checkpoint)
    for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        assert not network.training
        assert all(weight.dtype == torch.float32 and not weight.requires_grad for weight in network.parameters())
    assert pipeline.safety_checker is None and not caplog.records
    assert picture_side(pipeline) == 16


def test_captions_are_as_long_as_the_text_encoder_reads(own_checkpoint: Path) -> None:
    path = own_checkpoint / "tokenizer" / "tokenizer_config.json"
    described = json.loads(path.read_text())
    del described["model_max_length"]  # which transformers takes for endless
    path.write_text(json.dumps(described))
    assert load(own_checkpoint).tokenizer.model_max_length == TEXT_LENGTH


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="its U-Net attends to text of width 48, its text encoder makes 32"):
        load(make_checkpoint(tmp_path / "wide", text_width=48))


def test_a_checkpoint_that_predicts_something_else_is_refused(own_checkpoint: Path) -> None:
    change(own_checkpoint / "scheduler" / "scheduler_config.json", prediction_type="sample")
    with pytest.raises(StageError, match=r"diffusion\.pretrained: .* it predicts sample; epsilon and v_prediction"):
        load(own_checkpoint)


def test_an_inpainting_checkpoint_is_refused(own_checkpoint: Path) -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config({**load(own_checkpoint).unet.config, "in_channels": 9})
    unet.save_pretrained(own_checkpoint / "unet")
    with pytest.raises(StageError, match="its U-Net maps 9 channels to 4, its VAE has 4; all must be 4"):
        load(own_checkpoint)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/config.json"])
def test_a_damaged_file_is_one_line(own_checkpoint: Path, part: str) -> None:
    path = own_checkpoint / part
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StageError, match=r"diffusion\.pretrained: cannot load .*own .*; check it or fetch") as caught:
        load(own_checkpoint)
    assert "\n" not in str(caught.value)


def test_updates_stand_beside_attention_projections_and_nothing_else_is_trained(checkpoint: Path) -> None:
    pipeline = load(checkpoint)
    projections = {name for name, _ in pipeline.unet.named_modules() if name.endswith(ATTENTION)}
    before = denoise(pipeline.unet)
    add_lora(pipeline.unet, 4, 4, seed=0)
    trained = {name: weight for name, weight in pipeline.unet.named_parameters() if weight.requires_grad}
    assert trained.keys() == {f"{name}.lora_{side}.default.weight" for name in projections for side in "AB"}
    assert len(projections) == 4 * 2 * 4  # four blocks with attention, to itself and to text
    assert all(min(weight.shape) == 4 for weight in trained.values())
    assert torch.equal(denoise(pipeline.unet), before)


def test_the_same_seed_gives_the_same_updates_and_leaves_global_chance_alone(checkpoint: Path) -> None:
    state = torch.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        unet = load(checkpoint).unet
        add_lora(unet, 4, 4, seed)
        drawn.append(torch.cat([weight.flatten() for name, weight in unet.named_parameters() if ".lora_A." in name]))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_plain_diffusers_reads_what_is_saved(checkpoint: Path, tmp_path: Path) -> None:
    """Also with an alpha that is not the rank, which no weight tells."""
    tuned = load(checkpoint)
    add_lora(tuned.unet, 4, 12, seed=0)
    randomise(tuned.unet)
    save_lora(tuned.unet, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pytorch_lora_weights.safetensors"]
    plain = StableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None)
    untuned = denoise(plain.unet)
    plain.load_lora_weights(tmp_path)
    ours = load(checkpoint)
    load_lora(ours, tmp_path)
    assert torch.equal(denoise(plain.unet), denoise(tuned.unet))
    assert torch.equal(denoise(ours.unet), denoise(tuned.unet))
    assert (denoise(ours.unet) - untuned).abs().max() > 0.01


def test_missing_and_damaged_updates_are_one_line(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"pytorch_lora_weights\.safetensors is missing; run: make diffusion"):
        load_lora(load(checkpoint), tmp_path)
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"half")
    with pytest.raises(StageError, match=r"pytorch_lora_weights\.safetensors cannot be loaded .*make diffusion"):
        load_lora(load(checkpoint), tmp_path)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_every_sampler_is_on_the_checkpoints_own_chain_and_does_not_clip(
    checkpoint: Path, checkpoint_v: Path, name: str
) -> None:
    for folder, prediction in ((checkpoint, "epsilon"), (checkpoint_v, "v_prediction")):
        pipeline = load(folder)
        chain = training_chain(pipeline)
        choose_scheduler(pipeline, name)
        assert type(pipeline.scheduler) is SCHEDULERS[name][0]
        assert pipeline.scheduler.config.prediction_type == chain.config.prediction_type == prediction
        assert not pipeline.scheduler.config.clip_sample and not chain.config.clip_sample
        torch.testing.assert_close(pipeline.scheduler.alphas_cumprod, chain.alphas_cumprod)
        assert chain.alphas_cumprod[0] == pytest.approx(1 - 0.00085)


def test_more_steps_than_the_checkpoint_has_are_refused(checkpoint: Path) -> None:
    check_steps(load(checkpoint), 1000)
    with pytest.raises(
        StageError, match=r"diffusion\.sampling\.num_inference_steps must be at most the checkpoint's 1000 .* 1001"
    ):
        check_steps(load(checkpoint), 1001)


def test_resizing_keeps_the_range_and_flat_colours() -> None:
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    assert resize(image, 32) is image
    for side in (8, 48):
        assert resize(image, side).shape == (2, 3, side, side)
        assert resize(image, side).abs().max() <= 1
        torch.testing.assert_close(resize(torch.full((1, 3, 32, 32), 0.3), side), torch.full((1, 3, side, side), 0.3))
