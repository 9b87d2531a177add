"""The space the baseline works in: both levels' quantized latents on one grid, normalised (arXiv:2112.10752, 4.3)."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.errors import StageError
from stages.vqvae import VQVAE, Codes


@dataclass(frozen=True)
class LatentSpace:
    """Means and deviations of each channel over the train pictures; 2D of them, bottom level first."""

    mean: list[float]
    deviation: list[float]

    def from_codes(self, network: VQVAE, codes: Codes) -> Tensor:
        """Codes -> x_0 (B,2D,2h,2w), each channel of mean 0 and deviation 1 over the train pictures."""
        raw = stack_levels(network, codes)
        return (raw - self._column(self.mean)) / self._column(self.deviation)

    def to_image(self, network: VQVAE, x_0: Tensor) -> Tensor:
        """x_0 (B,2D,2h,2w) -> image (B,3,H,W) in [-1,1]; quantized on the way, as the VQ-VAE's decoder expects."""
        raw = x_0 * self._column(self.deviation) + self._column(self.mean)
        bottom, top = raw.chunk(2, dim=1)
        return network.decode(
            Codes(
                nearest_codes(F.avg_pool2d(top, 2), network.quantizer_top.codebook),
                nearest_codes(bottom, network.quantizer_bottom.codebook),
            )
        )

    @staticmethod
    def _column(values: list[float]) -> Tensor:
        return torch.tensor(values)[:, None, None]

    def save(self, directory: Path) -> None:
        """Writes `latents.json`."""
        (directory / "latents.json").write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, directory: Path) -> "LatentSpace":
        """Reads `latents.json`.

        Raises:
            StageError: it is missing or damaged.
        """
        path = directory / "latents.json"
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
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


def measure_space(network: VQVAE, codes: Codes) -> LatentSpace:
    """The normalisation of a training set's codes."""
    raw = stack_levels(network, codes)
    return LatentSpace(raw.mean(dim=(0, 2, 3)).tolist(), raw.std(dim=(0, 2, 3)).clamp(min=1e-4).tolist())
