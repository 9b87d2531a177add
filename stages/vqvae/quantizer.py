"""Vector quantizers behind one small interface; the quantizers themselves are `vector-quantize-pytorch`'s."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

_RESTARTING: dict[str, Any] = {"kmeans_init": True, "kmeans_iters": 10, "threshold_ema_dead_code": 1}
_OPTIONS: dict[str, dict[str, Any]] = {
    "ema": {"rotation_trick": False},
    "ema_restart": {"rotation_trick": False, **_RESTARTING},
    "cosine": {"rotation_trick": False, "use_cosine_sim": True, **_RESTARTING},
    "rotation": {"rotation_trick": True, **_RESTARTING},
}


class Quantized(NamedTuple):
    """What quantization gives."""

    z_q: Tensor
    """(B,n,D) nearest code vectors, with a straight-through gradient; or as the caller has folded them."""
    indices: Tensor
    """(B,n) int64 in [0,K)."""
    commitment_loss: Tensor
    """() mean squared distance of z_e to its code, Eq. 3 of arXiv:1711.00937, without its weight."""


class VectorQuantizer(nn.Module):
    """z_e (B,n,D) -> `Quantized`; code vectors follow moving averages of what falls to them (arXiv:1711.00937, A.1)."""

    def __init__(self, library_quantizer: VectorQuantize) -> None:
        super().__init__()
        self.inner = library_quantizer

    def forward(self, z_e: Tensor) -> Quantized:
        z_q, indices, loss = self.inner(z_e)
        return Quantized(z_q, indices, loss.sum())

    def embed(self, indices: Tensor) -> Tensor:
        """(...) int64 -> code vectors (...,D)."""
        return torch.nn.functional.embedding(indices, self.codebook)

    @property
    def codebook(self) -> Tensor:
        """(K,D)."""
        return self.inner.codebook


def build_quantizer(kind: str, dim: int, codebook_size: int, decay: float) -> VectorQuantizer:
    """The quantizer of that name in the config (see `VqvaeConfig.quantizer`)."""
    return VectorQuantizer(
        VectorQuantize(dim=dim, codebook_size=codebook_size, decay=decay, commitment_weight=1.0, **_OPTIONS[kind])
    )
