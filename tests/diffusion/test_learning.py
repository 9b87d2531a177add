"""The baseline's loss is the one it says, it listens, and its samplers find what the network knows."""

import pytest
import torch

from stages.config.diffusion import DiffusionConfig
from stages.diffusion.module import DiffusionModule, NoisingBatch, drop_captions
from stages.diffusion.network import SCHEDULERS, build_unet, sampling_scheduler, training_scheduler
from stages.diffusion.objective import denoising_losses, min_snr_weight

SMALL = DiffusionConfig(channels=[32, 32], heads=2)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_has_no_loss_and_weights_are_min_snr(kind: str) -> None:
    chain = training_scheduler(DiffusionConfig(prediction_type=kind))  # type: ignore[arg-type]
    t = torch.tensor([0, 300, 999])
    alphas = chain.alphas_cumprod[t].double()
    snr = alphas / (1 - alphas)
    expected = snr.clamp(max=5) / (snr + 1 if kind == "v_prediction" else snr)
    torch.testing.assert_close(min_snr_weight(chain, t, 5.0).double(), expected, atol=1e-4, rtol=1e-3)
    x_0, eps = torch.randn(2, 3, 4, 8, 8)
    a, s = (weight.float()[:, None, None, None] for weight in (alphas.sqrt(), (1 - alphas).sqrt()))
    perfect = eps if kind == "epsilon" else a * eps - s * x_0
    assert denoising_losses(perfect, x_0, eps, t, chain, 5.0).max() < 1e-10
    off = denoising_losses(perfect + 0.5, x_0, eps, t, chain, 5.0)
    torch.testing.assert_close(off.double(), 0.25 * expected, atol=1e-4, rtol=1e-3)


def test_dropped_captions_are_all_alike() -> None:
    text, mask = torch.randn(3, 4, 5), torch.ones(3, 4, dtype=torch.bool)
    dropped, visible = drop_captions(text, mask, torch.tensor([True, False, False]))
    assert torch.equal(dropped[0], text[0]) and visible[0].all()
    assert torch.equal(dropped[1], dropped[2])
    assert visible[1].tolist() == [True, False, False, False]


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_samplers_follow_a_perfect_network(name: str) -> None:
    """With a network that knows x_0, every sampler ends at x_0."""
    config = DiffusionConfig(prediction_type="epsilon")
    chain = training_scheduler(config)
    scheduler = sampling_scheduler(name, chain.config)
    scheduler.set_timesteps(50 if name != "DDPM" else 1000)
    x_0 = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    x_t = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    for t in scheduler.timesteps:
        alpha = chain.alphas_cumprod[int(t)]
        eps = (x_t - alpha.sqrt() * x_0) / (1 - alpha).sqrt()
        x_t = scheduler.step(eps, t, x_t).prev_sample
    torch.testing.assert_close(x_t, x_0, atol=0.05, rtol=0)


def test_it_learns_and_listens() -> None:
    """Two captions, two latents: the loss falls, and with the other's caption it is higher."""
    torch.manual_seed(0)
    module = DiffusionModule(build_unet(SMALL, 2, 8, 12), SMALL)
    x_0 = torch.stack([torch.full((2, 8, 8), 1.0), torch.full((2, 8, 8), -1.0)]).repeat(4, 1, 1, 1)
    text = torch.randn(2, 3, 12).repeat(4, 1, 1)
    batch = NoisingBatch(x_0, text, torch.ones(8, 3, dtype=torch.bool))
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    t, eps = torch.arange(8) * 124, torch.randn(x_0.shape, generator=torch.Generator().manual_seed(2))
    everyone = torch.ones(8, dtype=torch.bool)
    before = module._losses(batch, everyone, t, eps).mean().item()
    for _ in range(60):
        optimizer.zero_grad()
        module._losses(batch, everyone, torch.randint(0, 1000, (8,)), torch.randn_like(x_0)).mean().backward()
        optimizer.step()
    after = module._losses(batch, everyone, t, eps).mean().item()
    other = module._losses(batch._replace(text=text.roll(1, 0)), everyone, t, eps).mean().item()
    assert after < 0.5 * before
    assert other > 1.5 * after


def test_attention_is_on_small_grids_only() -> None:
    config = DiffusionConfig(channels=[32, 64, 64], heads=2, attention_side=16)
    unet = build_unet(config, 3, 32, 12)
    assert unet.config.down_block_types == ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    assert unet.config.up_block_types == ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
