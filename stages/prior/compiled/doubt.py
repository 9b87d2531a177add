"""Whether rounding could have settled what was drawn, as `stages.prior.doubt.in_doubt` tells it, one row at a time."""

import numpy as np

from stages.prior.compiled.rule import Rule
from stages.prior.kernels.compiling import part
from stages.prior.kernels.elementwise import NOTHING, ONE, exp, highest_of


@part
def weight_above(logits: np.ndarray, weights: np.ndarray, value: np.float32) -> np.float32:
    """How much of the weights (K,) lies on logits (K,) above a value."""
    total = np.float32(0)
    for k in range(len(logits)):
        total += weights[k] if logits[k] > value else np.float32(0)
    return total


@part
def in_doubt(
    logits: np.ndarray,
    noise: np.ndarray,
    strength: np.float32,
    code: int,
    bound: np.float32,
    rule: Rule,
    room: np.ndarray,
) -> bool:
    """Whether another code than `code` might have been drawn.

    Args:
        logits: (K,), divided by the temperature.
        strength: of the noise (K,), 0 or 1.
        bound: what `top_k` keeps lies above.
        room: for (K,).
    """
    error, own = np.float32(rule.error), logits[code]
    limit = own + strength * noise[code] - error
    rival = NOTHING  # the likeliest code that might have been drawn if it is not cut off
    for k in range(len(logits)):
        near = k != code and logits[k] + strength * noise[k] > limit
        rival = max(rival, logits[k] if near else NOTHING)
    might_win, might_go = bool(rival > NOTHING), False
    if strength == 0:
        return might_win
    if 0 < rule.top_k < len(logits):
        for k in range(len(logits)):
            room[k] = 1
        might_win = might_win and bool(rival + error > bound)
        might_go = bool(weight_above(logits, room, own - error) - ONE >= rule.top_k)
        at_bound = weight_above(logits, room, bound - error) - weight_above(logits, room, bound + error)
        # where `top_k` is unsure, so is of what `top_p` takes its shares
        might_go = might_go or (rule.top_p < 1 and bool(at_bound > ONE))
    if rule.top_p < 1:
        highest, total = highest_of(logits), np.float32(0)
        for k in range(len(logits)):
            room[k] = exp(logits[k] - highest) if logits[k] > bound else np.float32(0)
            total += room[k]
        above, others = weight_above(logits, room, rival + error), weight_above(logits, room, own - error) - room[code]
        might_win = might_win and bool(above < np.float32(rule.top_p + rule.share_error) * total)
        might_go = might_go or bool(others >= np.float32(rule.top_p - rule.share_error) * total)
    return might_win or might_go
