"""Codes drawn from the logits, as `stages.prior.drawing` draws them, a row of the grids at a time."""

import numpy as np

from stages.prior.compiled.doubt import in_doubt, weight_above
from stages.prior.compiled.forward import begin_rows, forward, remember_codes
from stages.prior.compiled.packing import Weights
from stages.prior.compiled.rule import Rule
from stages.prior.compiled.state import State
from stages.prior.kernels.compiling import part, whole
from stages.prior.kernels.elementwise import HALF, NOTHING, ONE, exp, highest_of


@part
def _log_softmax(logits: np.ndarray) -> None:
    """In place, (K,)."""
    highest, total = highest_of(logits), np.float32(0)
    for k in range(len(logits)):
        total += exp(logits[k] - highest)
    shift = highest + np.log(total)
    for k in range(len(logits)):
        logits[k] -= shift


@part
def _guide(captioned: np.ndarray, uncaptioned: np.ndarray, scale: float) -> None:
    """As `drawing.guide`, one row, into `captioned` (K,)."""
    _log_softmax(captioned)
    _log_softmax(uncaptioned)
    for k in range(len(captioned)):
        captioned[k] = uncaptioned[k] + np.float32(scale) * (captioned[k] - uncaptioned[k])


@part
def _bound(logits: np.ndarray, weights: np.ndarray, wanted: np.float32) -> np.float32:
    """What a logit of (K,) must be above so that less than `wanted` of the weight (K,) lies above the logit.

    Found by halving the interval that it lies in: a sum needs no sorting. What is e^100 times less likely than the
    likeliest is never drawn, and the interval ends there.
    """
    high = highest_of(logits)
    low = min(high - np.float32(100), np.nextafter(high, NOTHING))  # of huge logits 100 is less than a step
    if weight_above(logits, weights, low) < wanted:
        return low
    while True:
        middle = (low + high) * HALF
        if middle <= low or middle >= high:
            return low
        if weight_above(logits, weights, middle) < wanted:
            high = middle
        else:
            low = middle


@part
def draw_code(logits: np.ndarray, noise: np.ndarray, room: np.ndarray, rule: Rule) -> tuple[int, bool]:
    """As `drawing.draw`, one row: logits (K,), which are changed, noise (K,), room for (K,); and whether in doubt."""
    kept_by_k, bound, strength = NOTHING, NOTHING, np.float32(0)
    if rule.temperature > 0:
        strength = ONE
        for k in range(len(logits)):
            logits[k] /= np.float32(rule.temperature)
            room[k] = 1
        if 0 < rule.top_k < len(logits):
            kept_by_k = bound = _bound(logits, room, np.float32(rule.top_k))
        if rule.top_p < 1:
            highest, total = highest_of(logits), np.float32(0)
            for k in range(len(logits)):
                room[k] = exp(logits[k] - highest) if logits[k] > bound else np.float32(0)
                total += room[k]
            bound = max(bound, _bound(logits, room, np.float32(rule.top_p) * total))
    for k in range(len(logits)):
        room[k] = logits[k] + strength * noise[k] if logits[k] > bound else NOTHING
    best, code = highest_of(room), 0
    for k in range(len(logits)):
        if room[k] == best:
            code = k
            break
    return code, in_doubt(logits, noise, strength, code, kept_by_k, rule, room)


@whole
def draw_row(
    weights: Weights,
    state: State,
    rule: Rule,
    noise: np.ndarray,
    known: np.ndarray,
    codes: np.ndarray,
    doubts: np.ndarray,
    row: int,
) -> None:
    """One row of the grids: noise (B,N,K) or, with guidance, of half the state's rows; the others (B,H,W)."""
    begin_rows(weights, state, row)
    side, count, width = codes.shape[2], noise.shape[2], len(weights.out_bias)
    for column in range(side):
        forward(weights, state, row, column)
        for b in range(len(codes)):
            code, doubt = known[b, row, column], False
            if code < 0:  # `UNKNOWN`; its value, frozen here, would not be in the key of what is kept compiled
                logits = state.logits[b * width : b * width + count]
                if len(codes) < state.batch:
                    start = (len(codes) + b) * width
                    _guide(logits, state.logits[start : start + count], rule.guidance_scale)
                code, doubt = draw_code(logits, noise[b, row * side + column], state.room, rule)
            codes[b, row, column] = code
            doubts[b, row, column] = doubt
        remember_codes(weights, state, codes, row, column)
