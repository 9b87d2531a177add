"""The library's code book, with each code looked up and counted by its number.

`vector_quantize_pytorch.Codebook` writes out all distances with their roots and a one-hot row for each vector, and
gathers and sums by products with those rows: at the published sizes and 64 pixels a quarter of a training step. What is
computed here is the same to rounding: scores without the root and without |x|^2 are in the order of the distances. And
it holds `SCORES_AT_ONCE` of them: all distances of 128 pictures of 64 pixels to 65,536 codes would be 8 GiB.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from vector_quantize_pytorch.vector_quantize_pytorch import Codebook

SCORES_AT_ONCE = 1 << 24


class LookupCodebook(Codebook):
    """Nearest code of each vector; in training the codes follow, as `Codebook` starts, averages and restarts them."""

    @property
    def vectors(self) -> Tensor:
        """The code vectors (K,D); of the cosine book of unit norm, which `embed` is not where it is an average."""
        book: Tensor = self.embed[0]
        return F.normalize(book, dim=-1) if self.use_cosine_sim else book

    def forward(self, x: Tensor, **unused: Any) -> tuple[Tensor, Tensor, Tensor]:
        """x (B,n,D), of unit norm for the cosine book -> code vectors (B,n,D), indices (B,n) int64, and nothing (0,)
        where the library has distances, which no loss in use here needs.

        Args:
            unused: `VectorQuantize` hands over defaults for masks and sampling, which are not in use here.
        """
        shape = x.shape[:-1]
        flat = x.detach().flatten(0, -2)  # (N,D)
        self.init_embed_(flat[None])
        book = self.vectors
        indices = self._nearest(flat, book)
        quantized = F.embedding(indices, book)
        if self.training:
            self._follow(flat, indices)
        return quantized.view(*shape, -1), indices.view(shape), flat.new_empty(0)

    def _nearest(self, flat: Tensor, book: Tensor) -> Tensor:
        """Index of the nearest code vector (K,D) of each vector (N,D), int64 (N,)."""
        bias = None if self.use_cosine_sim else book.square().sum(dim=1) / 2
        found = []
        for part in flat.split(max(1, SCORES_AT_ONCE // len(book))):
            scores = part @ book.T  # (n,K)
            if bias is not None:
                scores -= bias  # now -|x - e|^2 / 2 + |x|^2 / 2
            found.append(scores.argmax(dim=1))
        return torch.cat(found)

    def _follow(self, flat: Tensor, indices: Tensor) -> None:
        """Moving averages of how many vectors (N,D) fall to each code and of their sum (arXiv:1711.00937, A.1)."""
        counts = torch.zeros_like(self.cluster_size[0]).index_add_(0, indices, flat.new_ones(len(flat)))
        sums = torch.zeros_like(self.embed_avg[0]).index_add_(0, indices, flat)
        self.all_reduce_fn(counts)
        self.all_reduce_fn(sums)
        self.cluster_size.lerp_(counts[None], 1 - self.decay)
        self.embed_avg.lerp_(sums[None], 1 - self.decay)
        self.update_ema()
        self.expire_codes_(flat[None])
