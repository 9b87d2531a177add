"""LPIPS (arXiv:1801.03924) by the `lpips` package, only ever with the backbone's real ImageNet weights."""

import contextlib
import hashlib
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

EVALUATE_AGAIN = "remove the run's folder evaluation/, then run: make evaluation"
"""What is installed on the machine is no setting, so that an evaluation does not become stale by it."""


SMALLEST_ALEX_SIDE = 32
"""Pixels of a picture of which AlexNet's last layers leave something; VGG-16 takes any that a data set may have."""


class Perceptual(NamedTuple):
    """An LPIPS network, or the reason why there is none."""

    network: nn.Module | None
    reason: str | None


def lpips_for(backbone: str, side: int) -> Perceptual:
    """As `load_lpips`, for pictures of that side in pixels."""
    if backbone == "alex" and side < SMALLEST_ALEX_SIDE:
        return Perceptual(None, f"AlexNet leaves nothing of pictures of less than {SMALLEST_ALEX_SIDE} pixels")
    return load_lpips(backbone)


def weights_file(backbone: str) -> Path:
    """Where torch hub keeps the ImageNet weights of a backbone (`alex` or `vgg`), there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _weights_url(backbone).rpartition("/")[2]


def load_lpips(backbone: str, again: str = EVALUATE_AGAIN) -> Perceptual:
    """LPIPS v0.1 with its backbone from the torch hub cache; nothing is downloaded, no random weights are ever used.

    Args:
        again: what the reason says to do once the weights are there.
    """
    path = weights_file(backbone)
    how = f"put {_weights_url(backbone)} there and {again}"
    if not path.is_file():
        return Perceptual(None, f"the ImageNet weights of the backbone '{backbone}' are not at {path}; {how}")
    if not _is_whole(path):
        return Perceptual(None, f"{path} is damaged (its sha256 does not begin with what its name says); {how}")
    import lpips

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision the old way
        network: nn.Module = lpips.LPIPS(net=backbone, version="0.1", verbose=False)
    return Perceptual(network.eval().requires_grad_(False), None)


@torch.no_grad()
def lpips_distance(network: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """LPIPS (B,), from 0 (the same) upwards, of each image (B,3,H,W) in [-1,1] and its target."""
    distance: Tensor = network(image, target)
    return distance.flatten()  # (B,1,1,1) -> (B,)


def _weights_url(backbone: str) -> str:
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    weights = {"alex": AlexNet_Weights.IMAGENET1K_V1, "vgg": VGG16_Weights.IMAGENET1K_V1}[backbone]
    return str(weights.url)


def _is_whole(path: Path) -> bool:
    """Whether the file is the one its name promises: torch hub names hold the first 8 digits of the sha256."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest().startswith(path.stem.rpartition("-")[2])
