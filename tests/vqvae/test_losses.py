"""Errors of the picture that the loss can have, and LPIPS only ever with its real weights."""

from pathlib import Path

import lpips
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.vqvae import VqvaeConfig
from stages.errors import StageError
from stages.metrics.perceptual import weights_file
from stages.vqvae import VQVAE, VQVAESizes
from stages.vqvae.module import PictureBatch, VQVAEModule
from stages.vqvae.stage import _check_size, _lpips

P = 8


def step(config: VqvaeConfig, network: lpips.LPIPS | None = None) -> tuple[VQVAEModule, dict[str, Tensor]]:
    """One training step's logged values."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    module = VQVAEModule(VQVAE(VQVAESizes(64, P, 16, 1, 8, 8, 16, 2, "ema", 0.9)), config, network)
    logged: dict[str, Tensor] = {}
    module.log_dict = lambda values, **kwargs: logged.update(values)  # type: ignore[method-assign]
    embedding = F.normalize(torch.randn(2, P, generator=generator), dim=-1)
    batch = PictureBatch(torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1, embedding, embedding)
    module._step(batch, "train").backward()
    return module, logged


def test_l1_takes_the_place_of_mse_which_is_still_logged() -> None:
    none = {"coarse_weight": 0.0, "commitment_weight": 0.0, "embedding_weight": 0.0, "alignment_weight": 0.0}
    _, squared = step(VqvaeConfig(**none))  # type: ignore[arg-type]
    _, absolute = step(VqvaeConfig(reconstruction="l1", **none))  # type: ignore[arg-type]
    assert squared["train/loss"] == squared["train/mse"] == absolute["train/mse"]
    assert "train/l1" not in squared
    assert absolute["train/loss"] == absolute["train/l1"] > absolute["train/mse"]
    assert absolute["train/coarse"] > squared["train/coarse"]


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
def test_lpips_is_in_the_loss_with_its_weight_and_teaches_the_network() -> None:
    network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)  # for the gradient's way only
    network.eval().requires_grad_(False)
    _, without = step(VqvaeConfig())
    module, logged = step(VqvaeConfig(lpips_weight=2.0), network)
    assert logged["train/loss"] - without["train/loss"] == pytest.approx(2 * logged["train/lpips"].item(), rel=1e-4)
    assert not any("lpips" in name for name in module.state_dict())
    other, _ = step(VqvaeConfig())
    first, second = (one.network.encoder_bottom[0].weight.grad for one in (module, other))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("backbone", ["vgg", "alex"])
def test_lpips_without_its_weights_is_refused_with_the_way_to_get_them(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    section = VqvaeConfig(lpips_weight=1.0, lpips_backbone=backbone)  # type: ignore[arg-type]
    with pytest.raises(
        StageError, match=r"vqvae\.lpips_weight is 1\.0, but .*put https.* there and run: make vqvae"
    ) as at:
        _lpips(section)
    assert str(weights_file(backbone)) in str(at.value)
    assert _lpips(VqvaeConfig()) is None


def test_an_adversary_is_refused_for_pictures_it_has_no_patch_for() -> None:
    _check_size(VqvaeConfig(gan_weight=1.0), 24)
    _check_size(VqvaeConfig(), 16)
    with pytest.raises(StageError, match=r"vqvae\.gan_weight must be 0 for pictures of less than 24 pixels"):
        _check_size(VqvaeConfig(gan_weight=1.0), 16)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lpips_weight": -1.0}, "vqvae.lpips_weight must not be negative"),
        ({"gan_weight": float("nan")}, "vqvae.gan_weight must not be negative"),
        ({"entropy_weight": -0.1}, "vqvae.entropy_weight must not be negative"),
        ({"gan_channels": 12}, "vqvae.gan_channels must be a multiple of 8, got 12"),
        ({"gan_start": -1}, "vqvae.gan_start must not be negative"),
        ({"gan_weight": 1.0, "gan_start": 1800}, r"vqvae.gan_start must be below max_steps \(1800\), got 1800"),
        ({"ema_decay": 1.0}, r"vqvae.ema_decay must be in \(0, 1\) or null, got 1.0"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VqvaeConfig(**changed)  # type: ignore[arg-type]
