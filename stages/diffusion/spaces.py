"""What the baseline denoises: the VQ-VAE's latents, as latent diffusion does (arXiv:2112.10752), or the pixels."""

import json
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.errors import StageError
from stages.vqvae import VQVAE, Codes

FILE = "space.json"
KEPT_VARIANCE = 0.995
"""Share of the latents' variance that the kept directions hold; the rest moves hardly any code."""


class Space(Protocol):
    """Where x_0 (B,channels,side,side) lives, and the way there and back."""

    channels: int
    side: int

    def from_image(self, image: Tensor, embedding: Tensor) -> Tensor:
        """image (B,3,H,W) in [-1,1] and its BLIP embedding (B,P) -> x_0."""

    def to_image(self, x_0: Tensor) -> Tensor:
        """x_0 -> image (B,3,H,W) in [-1,1]."""

    def save(self, directory: Path) -> None:
        """Writes `space.json`."""


class PixelSpace:
    """x_0 is the picture itself."""

    channels = 3

    def __init__(self, side: int) -> None:
        self.side = side

    def from_image(self, image: Tensor, embedding: Tensor) -> Tensor:
        return image

    def to_image(self, x_0: Tensor) -> Tensor:
        return x_0.clamp(-1, 1)

    def save(self, directory: Path) -> None:
        _write(directory, {"name": "pixel", "side": self.side})


class LatentSpace:
    """Both levels' z_q on one grid, turned into few uncorrelated channels of mean 0 and together of deviation 1.

    Code vectors lie near a few directions (6 of 16 hold 99.8 % of the variance on `scenes`). Noise added to channels
    that repeat each other averages out, so that most of the noising chain would hide nothing: principal components
    leave no two channels that do. One scale for all of them, as latent diffusion has it.

    Args:
        mean: (2D,) of the stacked levels.
        basis: (C,2D), a channel's direction in each row; orthogonal, all as long as the latents deviate on average.
    """

    def __init__(self, vqvae: VQVAE, mean: Tensor, basis: Tensor) -> None:
        self.vqvae, self.mean, self.basis = vqvae, mean, basis
        self.channels, self.side = len(basis), vqvae.sizes.bottom_side

    @classmethod
    def measured(cls, vqvae: VQVAE, codes: Codes) -> "LatentSpace":
        """The space of a training set, by some of its codes."""
        vectors = stack_levels(vqvae, codes).movedim(1, -1).flatten(0, 2)  # (n,2D)
        mean = vectors.mean(dim=0)
        variances, directions = torch.linalg.eigh((vectors - mean).T.cov(correction=0).double())
        variances, directions = variances.flip(0).clamp(min=0), directions.flip(1)  # largest first; one in each column
        kept = int((variances.cumsum(0) < KEPT_VARIANCE * variances.sum()).sum()) + 1
        deviation = variances[:kept].mean().sqrt().clamp(min=1e-4)
        return cls(vqvae, mean, (directions[:, :kept] * deviation).T.float())

    def from_codes(self, codes: Codes) -> Tensor:
        """Codes -> x_0 (B,C,2h,2w)."""
        vectors = stack_levels(self.vqvae, codes).movedim(1, -1) - self.mean
        weights = self.basis / self.basis.square().sum(dim=1, keepdim=True)
        return (vectors @ weights.T).movedim(-1, 1)

    def from_image(self, image: Tensor, embedding: Tensor) -> Tensor:
        return self.from_codes(self.vqvae.encode(image, embedding))

    def to_image(self, x_0: Tensor) -> Tensor:
        """Quantized on the way, as the VQ-VAE's decoder expects."""
        vectors = (x_0.movedim(1, -1) @ self.basis + self.mean).movedim(-1, 1)  # (B,2D,2h,2w)
        bottom, top = vectors.chunk(2, dim=1)
        return self.vqvae.decode(
            Codes(
                nearest_codes(F.avg_pool2d(top, 2), self.vqvae.quantizer_top.codebook),
                nearest_codes(bottom, self.vqvae.quantizer_bottom.codebook),
            )
        )

    def save(self, directory: Path) -> None:
        _write(directory, {"name": "latent", "mean": self.mean.tolist(), "basis": self.basis.tolist()})


def load_space(directory: Path, vqvae: VQVAE) -> Space:
    """The space that `space.json` describes.

    Raises:
        StageError: the file is missing or damaged.
    """
    path = directory / FILE
    try:
        about = json.loads(path.read_text())
        if about["name"] == "pixel":
            return PixelSpace(int(about["side"]))
        return LatentSpace(vqvae, torch.tensor(about["mean"]), torch.tensor(about["basis"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StageError(f"{path} cannot be read ({error}); run: make diffusion") from None


def stack_levels(network: VQVAE, codes: Codes) -> Tensor:
    """Codes -> (B,2D,2h,2w): the bottom level's z_q, then the top level's, each code repeated 2x2."""
    bottom = network.embed_bottom(codes.bottom).movedim(-1, 1)
    top = network.embed_top(codes.top).movedim(-1, 1).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return torch.cat([bottom, top], dim=1)


def nearest_codes(latents: Tensor, codebook: Tensor) -> Tensor:
    """(B,D,h,w) -> index of the nearest of (K,D) code vectors at each place, int64 (B,h,w)."""
    flat = latents.movedim(1, -1)  # (B,h,w,D)
    return torch.cdist(flat.flatten(0, 2), codebook).argmin(dim=-1).view(flat.shape[:3])


def _write(directory: Path, about: dict[str, Any]) -> None:
    (directory / FILE).write_text(json.dumps(about) + "\n")
