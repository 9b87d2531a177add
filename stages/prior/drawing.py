"""How a code is drawn once the network has said how likely each one is."""

from typing import NamedTuple

import torch
from torch import Tensor

from stages.config.samples import SamplingOptions

UNKNOWN = -1
"""In the place of a code that is to be drawn."""


class Drawn(NamedTuple):
    """Codes as one way to compute the logits has them."""

    codes: Tensor
    """(B,H,W) int64."""
    in_doubt: Tensor
    """(B,H,W) bool: which of them another rounding could make others."""


def gumbel_noise(seeds: list[int], positions: int, codebook_size: int) -> Tensor:
    """Standard Gumbel noise (B,N,K); row i depends on seeds[i] alone, so a picture is the same in any batch."""
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(positions, codebook_size, generator=generator).clamp_(1e-20, 1 - 1e-7)
        rows.append(-torch.log(-torch.log(uniform)))
    return torch.stack(rows)


def draw(logits: Tensor, noise: Tensor, options: SamplingOptions) -> Tensor:
    """One code for each row by the Gumbel-max trick: logits (B,K), noise (B,K) -> int64 (B,).

    `top_k` keeps the k likeliest codes, `top_p` those above which less than that share of the probability lies; of
    equally likely ones either all are kept or none.
    """
    if options.temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / options.temperature
    if 0 < options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if options.top_p < 1:
        ordered = logits.sort(dim=-1, descending=True).values
        shares = ordered.softmax(dim=-1)
        outside = shares.cumsum(dim=-1) - shares >= options.top_p
        least = ordered.masked_fill(outside, torch.inf).amin(dim=-1, keepdim=True)
        logits = logits.masked_fill(logits < least, -torch.inf)
    return (logits + noise).argmax(dim=-1)


def guide(logits: Tensor, scale: float) -> Tensor:
    """Guided log-probabilities (B,K) from captioned and uncaptioned rows stacked (2B,K); (B,K) as it is for scale 1."""
    if scale == 1:
        return logits
    captioned, uncaptioned = logits.log_softmax(dim=-1).chunk(2)
    return uncaptioned + scale * (captioned - uncaptioned)
