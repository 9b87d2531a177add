"""The compiled sampler's draw without its network."""

import numpy as np
from numba import njit

from stages.prior.compiled.drawing import draw_code
from stages.prior.compiled.rule import Rule


@njit
def compiled_draws(logits: np.ndarray, noise: np.ndarray, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """What it draws of each row of logits (n,K), which are changed, and whether that is in doubt: (n,), (n,)."""
    drawn, doubts, room = np.zeros(len(logits), np.int64), np.zeros(len(logits), np.bool_), np.zeros_like(logits[0])
    for row in range(len(logits)):
        drawn[row], doubts[row] = draw_code(logits[row], noise[row], room, rule)
    return drawn, doubts
