"""Which drawn codes another rounding of the logits could make others (`settling.py` settles them)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.samples import SamplingOptions

ROUNDED_SHARE = 1e-5
"""How far a share of the probability may be off that is summed up in float32."""


def in_doubt(logits: Tensor, noise: Tensor, options: SamplingOptions, drawn: Tensor, error: float) -> Tensor:
    """Whether `draw` could draw other codes than `drawn` (B,) from logits (B,K) whose distances are off by `error`.

    Returns:
        (B,) bool. True at times where it could not, but not false where it could.
    """
    scale = options.temperature or 1.0
    logits, error, own = logits / scale, error / scale, drawn[:, None]
    scores = logits + noise if options.temperature else logits
    rivals = (scores > scores.gather(1, own) - error).scatter(1, own, False)
    if options.temperature == 0:
        return rivals.any(dim=1)
    none, ones = torch.zeros_like(drawn, dtype=torch.bool), torch.ones_like(logits)
    might_go, unsure, kept = none, none, logits
    if 0 < options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k, dim=-1).values[:, -1:]
        rivals = rivals & (logits > least - error)
        others = _weight_above(logits, ones, logits.gather(1, own) - error)[:, 0] - 1
        might_go, unsure = others >= options.top_k, ((logits - least).abs() <= error).sum(dim=1) > 1
        kept = logits.masked_fill(logits < least, -torch.inf)
    if options.top_p < 1:
        shares, slack = kept.softmax(dim=-1), error + ROUNDED_SHARE
        rivals = rivals & (_weight_above(logits, shares, logits + error) < options.top_p + slack)
        others = (_weight_above(logits, shares, logits.gather(1, own) - error) - shares.gather(1, own))[:, 0]
        might_go = might_go | unsure | (others >= options.top_p - slack)
    return rivals.any(dim=1) | might_go


def _weight_above(logits: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """How much of the weights (B,K) lies on logits (B,K) above values (B,n): (B,n)."""
    ordered, order = logits.sort(dim=-1)
    from_here_on = F.pad(weights.gather(1, order).flip(-1).cumsum(dim=-1).flip(-1), (0, 1))  # (B,K+1)
    return from_here_on.gather(1, torch.searchsorted(ordered, values, right=True))
