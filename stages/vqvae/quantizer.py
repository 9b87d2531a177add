"""Vector quantizers behind one small interface; the quantizers themselves are `vector-quantize-pytorch`'s."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, LFQ, VectorQuantize

from stages.config.vqvae import fsq_levels
from stages.vqvae.codebook import LookupCodebook

_RESTARTING: dict[str, Any] = {"kmeans_init": True, "kmeans_iters": 10, "threshold_ema_dead_code": 1}
_BOOKS: dict[str, dict[str, Any]] = {
    "ema": {"threshold_ema_dead_code": 0},
    "ema_restart": _RESTARTING,
    "cosine": {"use_cosine_sim": True, **_RESTARTING},
    "rotation": _RESTARTING,
}


class Quantized(NamedTuple):
    """What quantization gives. The losses are without their weights, and 0 in eval mode."""

    z_q: Tensor
    """(B,n,D) code vectors, with a straight-through or rotated gradient; or as the caller has folded them."""
    indices: Tensor
    """(B,n) int64 in [0,K)."""
    commitment_loss: Tensor
    """() mean squared distance of z_e to its code, Eq. 3 of arXiv:1711.00937; FSQ has none, which is 0."""
    entropy_loss: Tensor
    """() nats: of a single lookup minus of the batch's mean lookup, Eq. 5 of arXiv:2310.05737; 0 but for LFQ."""


class VectorQuantizer(nn.Module, ABC):
    """z_e (B,n,D) -> `Quantized`, in float32 whatever precision is around it: bfloat16 would choose other codes."""

    def forward(self, z_e: Tensor) -> Quantized:
        with torch.autocast(z_e.device.type, enabled=False):
            return self.quantize(z_e.float())

    @abstractmethod
    def quantize(self, z_e: Tensor) -> Quantized:
        """z_e (B,n,D) float32."""

    @property
    @abstractmethod
    def codebook(self) -> Tensor:
        """(K,D)."""

    def embed(self, indices: Tensor) -> Tensor:
        """(...) int64 -> code vectors (...,D)."""
        return F.embedding(indices, self.codebook)


class LearntCodes(VectorQuantizer):
    """The nearest of K code vectors, which follow moving averages of what falls to them (arXiv:1711.00937, A.1)."""

    def __init__(self, kind: str, dim: int, codebook_size: int, decay: float) -> None:
        super().__init__()
        book = {"dim": dim, "codebook_size": codebook_size, "decay": decay, **_BOOKS[kind]}
        self.inner = VectorQuantize(rotation_trick=kind == "rotation", commitment_weight=1.0, **book)
        self.inner._codebook = LookupCodebook(use_ddp=self.inner._codebook.use_ddp, **book)

    def quantize(self, z_e: Tensor) -> Quantized:
        z_q, indices, loss = self.inner(z_e)
        return Quantized(z_q, indices, loss.sum(), z_e.new_zeros(()))

    @property
    def codebook(self) -> Tensor:
        vectors: Tensor = self.inner._codebook.vectors
        return vectors


class ScalarCodes(VectorQuantizer):
    """z_e projected to a few scalars, each of which the library's `inner` rounds; z_q is projected back.

    The scalars are of mean 0 and variance 1 over the batch (in use: over the batches that were learnt from). Without
    that the sign of a scalar is that of a bias: on 64 px scenes LFQ's top level starts with one code and keeps it.
    """

    def __init__(self, inner: FSQ | LFQ, dim: int) -> None:
        super().__init__()
        scalars = inner.codebook_dim
        self.project_in = nn.Linear(dim, scalars, bias=False)
        self.normalise = nn.BatchNorm1d(scalars, affine=False)
        self.inner = inner
        self.project_out = nn.Linear(scalars, dim)

    def scalars(self, z_e: Tensor) -> Tensor:
        """(B,n,D) -> (B,n,scalars), before rounding."""
        scalars: Tensor = self.normalise(self.project_in(z_e).flatten(0, 1))
        return scalars.unflatten(0, z_e.shape[:2])


class FiniteScalars(ScalarCodes):
    """FSQ (arXiv:2309.15505): a few levels to a scalar, and no auxiliary loss.

    Args:
        codebook_size: K, the product of the levels that `fsq_levels` gives for it.
    """

    def __init__(self, dim: int, codebook_size: int) -> None:
        super().__init__(FSQ(levels=list(fsq_levels(codebook_size))), dim)

    def quantize(self, z_e: Tensor) -> Quantized:
        codes, indices = self.inner(self.scalars(z_e))
        return Quantized(self.project_out(codes), indices.long(), z_e.new_zeros(()), z_e.new_zeros(()))

    @property
    def codebook(self) -> Tensor:
        codes: Tensor = self.project_out(self.inner.implicit_codebook)
        return codes


class LookupFree(ScalarCodes):
    """LFQ (arXiv:2310.05737): of each of log2 K scalars the sign.

    The entropy loss holds (B n, K) affinities in training: with a large K, memory for the batch.
    """

    def __init__(self, dim: int, codebook_size: int) -> None:
        super().__init__(LFQ(codebook_size=codebook_size, entropy_loss_weight=1.0, commitment_loss_weight=1.0), dim)

    def quantize(self, z_e: Tensor) -> Quantized:
        (codes, indices, _), losses = self.inner(self.scalars(z_e), return_loss_breakdown=True)
        entropy = losses.per_sample_entropy - losses.batch_entropy
        return Quantized(self.project_out(codes), indices.long(), losses.commitment, entropy)

    @property
    def codebook(self) -> Tensor:
        codes: Tensor = self.project_out(self.inner.codebook)
        return codes


def build_quantizer(kind: str, dim: int, codebook_size: int, decay: float) -> VectorQuantizer:
    """The quantizer of that name in the config (see `VqvaeConfig.quantizer`).

    Args:
        dim: D of z_e and z_q; FSQ and LFQ project from it to their own number of scalars, and back.
        decay: of the moving averages; FSQ and LFQ have none.
    """
    if kind == "fsq":
        return FiniteScalars(dim, codebook_size)
    if kind == "lfq":
        return LookupFree(dim, codebook_size)
    return LearntCodes(kind, dim, codebook_size, decay)
