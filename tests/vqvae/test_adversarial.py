"""The adversary: one optimiser over two networks is two optimisers, and a stopped fit goes on to the bit."""

import copy
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.config.vqvae import VqvaeConfig
from stages.errors import Interrupted
from stages.training import Batches, Sweep, fit
from stages.vqvae import VQVAE, VQVAESizes
from stages.vqvae.adversarial import SMALLEST_SIDE, PatchDiscriminator, adaptive_weight, adversarial_losses
from stages.vqvae.module import PictureBatch, VQVAEModule

P = 8
SIZES = VQVAESizes(32, P, 16, 1, 8, 8, 16, 2, "ema", 0.9)


def batch(rows: np.ndarray) -> PictureBatch:
    """Pictures of one colour each, the same for the same row."""
    colours = torch.stack([torch.rand(3, generator=torch.Generator().manual_seed(int(row))) for row in rows]) * 2 - 1
    embeddings = F.normalize(F.pad(colours, (0, P - 3)), dim=-1)
    return PictureBatch(colours[:, :, None, None].expand(-1, -1, 32, 32).contiguous(), embeddings, embeddings)


def config(**changed: Any) -> VqvaeConfig:
    return VqvaeConfig(**{"gan_weight": 0.5, "gan_channels": 8, "max_steps": 12, "lr": 1e-3, **changed})


def module(section: VqvaeConfig, stop_at: int | None = None) -> VQVAEModule:
    torch.manual_seed(0)
    return Stopped(VQVAE(SIZES), section, stop_at)


class Stopped(VQVAEModule):
    """Is asked to stop in a step, as by Ctrl-C."""

    def __init__(self, network: VQVAE, section: VqvaeConfig, stop_at: int | None) -> None:
        super().__init__(network, section)
        self.stop_at = stop_at

    def training_step(self, batch: PictureBatch, batch_idx: int) -> Tensor:
        if self.global_step + 1 == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, batch_idx)


def train(one: VQVAEModule, scratch: Path) -> VQVAEModule:
    torch.manual_seed(3)
    scratch.mkdir(exist_ok=True)
    fit(
        one,
        Batches(batch, 20, 4, seed=5),
        Sweep(batch, 8, 4),
        max_steps=one.config.max_steps,
        val_every=6,
        scratch=scratch,
        desc="vqvae",
        ema_decay=one.config.ema_decay,
    )
    return one


def by_hand(one: VQVAEModule, section: VqvaeConfig) -> None:
    """The published loop: a loss, a backward pass, a clipping and an optimiser for each network, from step 3."""
    network, discriminator = one.network, one.discriminator
    assert discriminator is not None
    plain = VQVAEModule(network, VqvaeConfig(max_steps=section.max_steps, lr=section.lr))
    optimizers = [_adamw(network, section), _adamw(discriminator, section)]
    for step in range(section.max_steps):
        data = batch(Batches(batch, 20, 4, seed=5).rows(step))
        painted: list[Tensor] = []
        keep = network.decoder.register_forward_hook(lambda _, __, out, seen=painted: seen.append(out))
        plain.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
        loss = plain.training_step(data, step)
        keep.remove()
        losses = [loss]
        if step >= section.gan_start:
            discriminator.requires_grad_(False)
            adversarial = -discriminator(painted[0]).mean()
            weight = section.gan_weight
            if section.gan_adaptive:
                last, mse = network.decoder[-1].weight, F.mse_loss(painted[0], data.image)
                of_mse = torch.autograd.grad(mse, last, retain_graph=True)[0].norm()
                of_adversary = torch.autograd.grad(adversarial, last, retain_graph=True)[0].norm()
                weight = weight * float(of_mse / (of_adversary + 1e-6))
            losses = [loss + weight * adversarial]
            losses[0].backward()
            discriminator.requires_grad_(True)
            real, fake = discriminator(data.image), discriminator(painted[0].detach())
            ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()).div(2).backward()
        else:
            loss.backward()
        for part, (optimizer, schedule) in zip((network, discriminator), optimizers, strict=True):
            nn.utils.clip_grad_norm_(part.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


def _adamw(part: nn.Module, section: VqvaeConfig) -> tuple[torch.optim.Optimizer, Any]:
    from stages.training import adamw_cosine

    made = adamw_cosine(part, section.lr, section.weight_decay, 50, section.max_steps)
    return made["optimizer"], made["lr_scheduler"]["scheduler"]


@pytest.mark.parametrize("adaptive", [True, False])
def test_one_optimiser_over_both_networks_is_two_optimisers(tmp_path: Path, adaptive: bool) -> None:
    section = config(gan_start=3, gan_adaptive=adaptive)
    ours, hand = module(section), module(section)
    start = copy.deepcopy(ours.state_dict())
    train(ours, tmp_path)
    torch.manual_seed(3)
    by_hand(hand, section)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, hand.state_dict()[name], atol=1e-6, rtol=1e-4)
    assert not torch.equal(start["discriminator.layers.0.weight"], ours.state_dict()["discriminator.layers.0.weight"])


@pytest.mark.parametrize("stop", [2, 3, 8])
@pytest.mark.parametrize("ema_decay", [None, 0.8])
def test_stopped_before_at_and_after_the_start_equals_one_go(
    tmp_path: Path, stop: int, ema_decay: float | None
) -> None:
    section = config(gan_start=3, ema_decay=ema_decay)
    whole = train(module(section), tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(module(section, stop), tmp_path / "parts")
    resumed = train(module(section), tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize(("start", "split", "there"), [(0, "train", True), (1, "train", False), (0, "val", False)])
def test_the_adversary_is_in_the_training_loss_from_its_start(start: int, split: str, there: bool) -> None:
    losses, logged = [], set()
    for weight in (0.0, 0.5):
        one = module(config(gan_weight=weight, gan_start=start))
        one.log_dict = lambda values, **kwargs: logged.update(values)  # type: ignore[method-assign]
        losses.append(one._step(batch(np.arange(4)), split).item())
    assert (losses[0] != losses[1]) == there
    assert ({f"{split}/adversarial", f"{split}/discriminator", f"{split}/gan_weight"} <= logged) == there


def test_each_loss_reaches_its_own_network_only() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(8)
    image, painted = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32, requires_grad=True)
    losses = adversarial_losses(discriminator, image, painted)
    losses.generator.backward()
    assert painted.grad is not None and painted.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in discriminator.parameters())
    painted.grad = None
    losses.discriminator.backward()
    assert painted.grad is None
    weights = [weight for weight in discriminator.parameters() if weight.ndim > 1]
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in weights)


def test_hinge_losses_by_hand() -> None:
    class Mean(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image.mean(dim=(1, 2, 3))

    image = torch.tensor([0.5, 3.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    painted = torch.tensor([-2.0, 0.25]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    losses = adversarial_losses(Mean(), image, painted)
    assert losses.generator.item() == pytest.approx(-(-2.0 + 0.25) / 2)
    assert losses.discriminator.item() == pytest.approx((0.5 / 2 + 1.25 / 2) / 2)


def test_the_adaptive_weight_makes_gradients_equally_long() -> None:
    last = torch.tensor([3.0, 4.0], requires_grad=True)
    weight = adaptive_weight((last * torch.tensor([6.0, 8.0])).sum(), (last * torch.tensor([0.0, 2.0])).sum(), last)
    assert weight.item() == pytest.approx(10 / 2, rel=1e-5) and not weight.requires_grad
    nothing = adaptive_weight(last.sum(), 0 * last.sum(), last)
    assert nothing.item() == pytest.approx(1e4)


def test_the_smallest_picture_has_a_patch_and_a_smaller_one_has_none() -> None:
    discriminator = PatchDiscriminator(8)
    assert discriminator(torch.zeros(1, 3, SMALLEST_SIDE, SMALLEST_SIDE)).shape[:2] == (1, 1)
    assert discriminator(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)  # as published at 256 pixels
    with pytest.raises(RuntimeError):
        discriminator(torch.zeros(1, 3, SMALLEST_SIDE - 8, SMALLEST_SIDE - 8))
