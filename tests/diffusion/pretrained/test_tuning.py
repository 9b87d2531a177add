"""A checkpoint learns: the loss is the one it says, only the updates change, and stopping and going on is one fit."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from stages.config.diffusion import DiffusionConfig
from stages.data import PreparedSet, to_tensor
from stages.diffusion.objective import min_snr_weight
from stages.diffusion.pretrained.checkpoint import find_checkpoint
from stages.diffusion.pretrained.module import TuningModule
from stages.diffusion.pretrained.pairs import TuningBatch, TuningPairs, caption_ids, keep_latents
from stages.diffusion.pretrained.pipeline import add_lora, load_pipeline, resize
from stages.diffusion.pretrained.tuning import measure
from stages.errors import Interrupted
from stages.training import Batches, Best, Sweep, fit

CONFIG = DiffusionConfig(pretrained="tiny", batch_size=8, max_steps=40, lr=1e-2)
Made = tuple[TuningModule, dict[str, TuningPairs]]


def load(folder: Path) -> StableDiffusionPipeline:
    return load_pipeline(find_checkpoint(str(folder)))


def make(folder: Path, dataset: PreparedSet, scratch: Path, kind: type[TuningModule] = TuningModule) -> Made:
    pipeline = load(folder)
    latents = keep_latents(pipeline, dataset, np.arange(24), scratch / "latents.npy")
    pairs = {name: TuningPairs(pipeline, dataset.split(name), latents) for name in ("train", "val")}
    add_lora(pipeline.unet, 4, 4, seed=0)
    return kind(pipeline, CONFIG), pairs


def fit_all(
    module: TuningModule, pairs: dict[str, TuningPairs], scratch: Path, max_steps: int = CONFIG.max_steps
) -> dict[str, Tensor]:
    """Fits to the end; the trained weights."""
    torch.manual_seed(0)
    fit(
        module,
        Batches(pairs["train"].batch, len(pairs["train"]), CONFIG.batch_size, 0),
        Sweep(pairs["val"].batch, len(pairs["val"]), CONFIG.batch_size),
        max_steps=max_steps,
        val_every=max_steps // 2,
        scratch=scratch,
        desc="diffusion",
        best=Best("val/loss"),
    )
    return {name: value.clone() for name, value in module.state_dict().items()}


class Stopped(TuningModule):
    """Is asked to stop at its 5th step, as by Ctrl-C."""

    def training_step(self, batch: TuningBatch, batch_idx: int) -> Tensor:
        if self.global_step + 1 == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, batch_idx)


def test_latents_are_the_vaes_and_are_computed_once(checkpoint: Path, dataset: PreparedSet, tmp_path: Path) -> None:
    pipeline = load(checkpoint)
    rows = np.array([2, 5, 9, 20])
    kept = keep_latents(pipeline, dataset, rows, tmp_path / "latents.npy")
    mean, deviation = kept.of(np.array([20, 5]))
    image = resize(to_tensor(dataset.images[np.array([20, 5])]), 16)
    with torch.no_grad():
        posterior = pipeline.vae.encode(image).latent_dist
    scale = pipeline.vae.config.scaling_factor
    torch.testing.assert_close(mean, posterior.mean * scale, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(deviation, posterior.std * scale, atol=1e-3, rtol=1e-3)
    del pipeline.vae.encoder  # nothing to encode with
    again = keep_latents(pipeline, dataset, rows, tmp_path / "latents.npy")
    assert np.array_equal(again.array, kept.array)


def test_captions_are_the_tokens_that_the_stock_pipeline_reads(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = load(checkpoint)
    captions = ["a red ship", "", "a very long caption, longer than can be read"]
    with torch.no_grad():
        stock, _ = pipeline.encode_prompt(captions, "cpu", 1, False)
        ours = pipeline.text_encoder(caption_ids(pipeline, captions))[0]
    assert torch.equal(ours, stock)
    assert "1 of 3 captions truncated to 24 tokens" in caplog.text


def test_the_other_caption_of_a_pair_is_of_another_picture_in_other_words(
    checkpoint: Path, dataset: PreparedSet, tmp_path: Path
) -> None:
    pipeline = load(checkpoint)
    latents = keep_latents(pipeline, dataset, np.arange(24), tmp_path / "latents.npy")
    pairs = TuningPairs(pipeline, dataset.split("train"), latents)
    assert (pairs.image_rows[pairs.others] != pairs.image_rows).all()
    assert (pairs.input_ids[pairs.others] != pairs.input_ids).any(dim=1).all()
    batch = pairs.batch(np.array([3]))
    assert torch.equal(batch.other_ids, pairs.input_ids[pairs.others[[3]]])


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_the_loss_is_of_what_the_checkpoint_predicts_and_weighted_by_min_snr(
    checkpoint: Path, checkpoint_v: Path, dataset: PreparedSet, tmp_path: Path, kind: str
) -> None:
    module, pairs = make(checkpoint if kind == "eps" else checkpoint_v, dataset, tmp_path)
    batch = pairs["val"].batch(np.arange(3))
    x_0, eps, t = batch.mean, torch.randn(3, 4, 8, 8), torch.tensor([0, 300, 999])
    alphas = module.scheduler.alphas_cumprod[t]
    a, s = alphas.sqrt()[:, None, None, None], (1 - alphas).sqrt()[:, None, None, None]
    with torch.no_grad():
        text = module.text_encoder(batch.input_ids)[0]
        predicted = module.unet(a * x_0 + s * eps, t, encoder_hidden_states=text).sample
        losses = module._losses(x_0, batch.input_ids, t, eps)
    target = eps if kind == "eps" else a * eps - s * x_0
    snr = alphas / (1 - alphas)
    weight = snr.clamp(max=5) / (snr if kind == "eps" else snr + 1)
    torch.testing.assert_close(losses, (predicted - target).square().mean((1, 2, 3)) * weight, rtol=1e-4, atol=1e-6)
    assert min_snr_weight(module.scheduler, t, 0).tolist() == [1, 1, 1]


def test_weights_are_finite_where_the_chain_ends_in_pure_noise(
    checkpoint: Path, checkpoint_v: Path, dataset: PreparedSet, tmp_path: Path
) -> None:
    for number, folder in enumerate((checkpoint, checkpoint_v)):
        (tmp_path / str(number)).mkdir()
        module, _ = make(folder, dataset, tmp_path / str(number))
        module.scheduler.alphas_cumprod[-1] = 0
        assert min_snr_weight(module.scheduler, torch.tensor([999]), 5).tolist() == [1 - number]


def test_held_out_losses_do_not_depend_on_batches(checkpoint: Path, dataset: PreparedSet, tmp_path: Path) -> None:
    module, pairs = make(checkpoint, dataset, tmp_path)
    together = module.held_out_losses(pairs["val"].batch(np.arange(6)))
    apart = [module.held_out_losses(pairs["val"].batch(np.array([row]))) for row in range(6)]
    for place in (0, 1):
        torch.testing.assert_close(torch.cat([losses[place] for losses in apart]), together[place])
    assert not torch.allclose(together[0], together[1], rtol=1e-5)
    measured = measure(module, pairs["val"])
    assert measured["val_loss"] == pytest.approx(float(together[0].mean()), rel=1e-4)
    assert measured["val_loss_shuffled"] == pytest.approx(float(together[1].mean()), rel=1e-4)


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_tuning_lowers_the_loss_and_changes_the_updates_alone(
    checkpoint: Path, checkpoint_v: Path, dataset: PreparedSet, tmp_path: Path, kind: str
) -> None:
    module, pairs = make(checkpoint if kind == "eps" else checkpoint_v, dataset, tmp_path)
    frozen = {name: weight.clone() for name, weight in module.named_parameters() if not weight.requires_grad}
    assert len(frozen) > 100
    before = measure(module, pairs["train"])["val_loss"]
    trained = fit_all(module, pairs, tmp_path)
    assert measure(module, pairs["train"])["val_loss"] < 0.98 * before
    now = dict(module.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in frozen.items())
    assert trained and all(".lora_" in name for name in trained)
    assert all(value.any() for value in trained.values())


def test_it_listens(checkpoint_v: Path) -> None:
    """Two captions, two latents, deep in noise: after some steps the caption tells which it is."""
    pipeline = load(checkpoint_v)
    add_lora(pipeline.unet, 8, 8, seed=0)
    module = TuningModule(pipeline, CONFIG)
    x_0 = torch.tensor([1.5, -1.5])[:, None, None, None].expand(2, 4, 8, 8).repeat(4, 1, 1, 1)
    ids = caption_ids(pipeline, ["all red", "wholly blue"]).repeat(4, 1)
    t = torch.full((8,), 900)
    optimizer = torch.optim.Adam([weight for weight in module.parameters() if weight.requires_grad], lr=2e-2)
    torch.manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        module._losses(x_0, ids, t, torch.randn_like(x_0)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        true, other = (
            float(module._losses(x_0, read, t, torch.randn_like(x_0)).mean()) for read in (ids, ids.roll(1, 0))
        )
    assert other > 1.5 * true, (true, other)


def test_stopped_and_gone_on_is_one_fit_and_keeps_the_updates_alone(
    checkpoint: Path, dataset: PreparedSet, tmp_path: Path
) -> None:
    def fit_in(name: str, kind: type[TuningModule] = TuningModule) -> dict[str, Tensor]:
        (tmp_path / name).mkdir(exist_ok=True)
        return fit_all(*make(checkpoint, dataset, tmp_path / name, kind), tmp_path / name, max_steps=8)

    whole = fit_in("whole")
    with pytest.raises(Interrupted, match="after step 5 of 8"):
        fit_in("parts", Stopped)
    kept = torch.load(tmp_path / "parts" / "diffusion.ckpt", weights_only=True)["state_dict"]
    assert kept.keys() == whole.keys()  # not the frozen checkpoint
    parts = fit_in("parts")
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    again = fit_in("parts")  # from what it ended with
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.parametrize("spoil", [lambda state: state.popitem(), lambda state: state.update(more=torch.zeros(1))])
def test_weights_of_other_updates_are_refused(
    checkpoint: Path, dataset: PreparedSet, tmp_path: Path, spoil: Callable[[dict[str, Tensor]], None]
) -> None:
    module, _ = make(checkpoint, dataset, tmp_path)
    state = module.state_dict()
    spoil(state)
    with pytest.raises(RuntimeError, match="of other low-rank updates"):
        module.load_state_dict(state)
