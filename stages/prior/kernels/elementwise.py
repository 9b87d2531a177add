"""What is computed number by number, in loops that the compiler turns into vectors.

It does where a place in an array is the loop's own counter and no sum: what might be below 0 is looked up one by one.
"""

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from stages.prior.kernels.compiling import part
from stages.prior.kernels.vectors import FLOAT, INT32, PANEL, fold, higher, load, starts_of, times

_LOG2_E = np.float32(1.44269504088896)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOWEST, _HIGHEST = np.float32(-87.0), np.float32(88.0)
_TERMS = tuple(np.float32(1 / factorial) for factorial in (2, 6, 24, 120, 720))
HALF, ONE, NOTHING = np.float32(0.5), np.float32(1), np.float32(-np.inf)
EPSILON = torch.finfo(torch.float32).eps
"""Of every `nn.RMSNorm`, whose own would be another one in float64."""


@intrinsic
def _two_to_the(_: Any, n: Any) -> Any:
    """2^n as float32 of an int32 in [-126, 127]: an exponent without a fraction."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        biased = builder.add(args[0], ir.Constant(INT32, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(INT32, 23)), FLOAT)

    return types.float32(types.int32), build


@part
def exp(x: np.float32) -> np.float32:
    """e^x within 2e-7 of itself, in operations that a loop does many at a time, which the C library's is not."""
    x = min(max(x, _LOWEST), _HIGHEST)
    n = np.floor(x * _LOG2_E + HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    a, b, c, d, e = _TERMS
    series = ONE + r * (ONE + r * (a + r * (b + r * (c + r * (d + r * e)))))
    return series * _two_to_the(np.int32(n))  # type: ignore[call-arg]


@part
def elu(x: np.ndarray, out: np.ndarray, width: int) -> None:
    """out[:width] = ELU of x[:width]."""
    for i in range(width):
        out[i] = x[i] if x[i] > 0 else exp(x[i]) - ONE


@part
def copy(x: np.ndarray, out: np.ndarray) -> None:
    """out[: len(x)] = x."""
    for i in range(len(x)):
        out[i] = x[i]


@part
def clear(x: np.ndarray, width: int) -> None:
    """x[:width] = 0."""
    for i in range(width):
        x[i] = 0


@part
def add(x: np.ndarray, out: np.ndarray) -> None:
    """out += x[: len(out)]."""
    for i in range(len(out)):
        out[i] += x[i]


@part
def scale_of(x: np.ndarray, count: int) -> np.float32:
    """1 / RMS of the first so many numbers, as `nn.RMSNorm` has it."""
    squares = np.float32(0)
    for i in range(count):
        squares += x[i] * x[i]
    return ONE / np.sqrt(squares / np.float32(count) + np.float32(EPSILON))


@part
def rms_norm(x: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """As `nn.RMSNorm`, each C of (B C,)."""
    c = len(weight)
    for start in range(0, len(x), c):
        row, normed = x[start:], out[start:]
        scale = scale_of(row, c)
        for i in range(c):
            normed[i] = row[i] * scale * weight[i]


@intrinsic
def _highest_in_panels(_: Any, x: Any, panels: Any) -> Any:
    """The highest of x[: panels PANEL]; numba's `max` compares one number after the other."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (start,) = starts_of(context, builder, signature, args, (0,))
        highest = cgutils.alloca_once_value(builder, load(builder, start, None, PANEL))
        with cgutils.for_range(builder, args[1]) as loop:
            panel = load(builder, start, times(builder, loop.index, PANEL), PANEL)
            builder.store(higher(builder, panel, builder.load(highest)), highest)
        return builder.extract_element(fold(builder, builder.load(highest), 1, higher), ir.Constant(INT32, 0))

    return types.float32(x, types.intp), build


@part
def highest_of(x: np.ndarray) -> np.float32:
    """The highest of x, which is not empty."""
    highest, panels = x[0], len(x) // PANEL
    if panels:
        highest = _highest_in_panels(x, panels)  # type: ignore[call-arg]
    for i in range(panels * PANEL, len(x)):
        highest = max(highest, x[i])
    return highest
