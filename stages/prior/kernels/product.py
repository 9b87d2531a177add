"""The product of a few rows with a small matrix: most of a sampled position's work and of training's convolutions."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from stages.prior.kernels.compiling import part
from stages.prior.kernels.vectors import PANEL, add, everywhere, load, multiply, starts_of, times, vector_at

LINES = 4
"""Lines of a tile."""


def _tile(lines: int) -> Callable[..., None]:
    """out[line, :PANEL] += x[line, :depth] @ weight[:depth, :PANEL] for so many lines, the sums kept in registers.

    Lines of x, weight and out are as many floats apart as their strides. The numbers of a line of x come in runs of
    `depth`; they are x_step floats apart, and runs x_run floats.
    """

    @intrinsic
    def tile(
        _: Any,
        x: Any,
        x_stride: Any,
        runs: Any,
        x_run: Any,
        depth: Any,
        x_step: Any,
        weight: Any,
        weight_stride: Any,
        out: Any,
        out_stride: Any,
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x_start, weight_start, out_start = starts_of(context, builder, signature, args, (0, 6, 8))
            x_stride, runs, x_run, depth, x_step, weight_stride, out_stride = (args[i] for i in (1, 2, 3, 4, 5, 7, 9))
            places = [vector_at(builder, out_start, times(builder, out_stride, line), PANEL) for line in range(lines)]
            lines_start = [builder.gep(x_start, [times(builder, x_stride, line)]) for line in range(lines)]
            sums = [cgutils.alloca_once_value(builder, builder.load(place, align=4)) for place in places]
            with cgutils.for_range(builder, runs) as run, cgutils.for_range(builder, depth) as step:
                number = builder.add(builder.mul(run.index, depth), step.index)
                row = load(builder, weight_start, builder.mul(number, weight_stride), PANEL)
                place_in_line = builder.add(builder.mul(run.index, x_run), builder.mul(step.index, x_step))
                for start, total in zip(lines_start, sums, strict=True):
                    value = everywhere(builder, builder.load(builder.gep(start, [place_in_line])), PANEL)
                    builder.store(add(builder, multiply(builder, value, row), builder.load(total)), total)
            for place, total in zip(places, sums, strict=True):
                builder.store(builder.load(total), place, align=4)
            return context.get_dummy_value()

        number = types.intp
        return types.void(x, number, number, number, number, number, weight, number, out, number), build

    return tile


one_line, two_lines, some_lines = _tile(1), _tile(2), _tile(LINES)


@part
def multiply_add(
    x: np.ndarray, x_stride: int, lines: int, depth: int, weight: np.ndarray, out: np.ndarray, out_stride: int
) -> None:
    """out[line] += x[line, :depth] @ weight (panels, depth, PANEL); x and out are 1-D and begin at line 0."""
    for panel in range(weight.shape[0]):
        multiply_add_panel(x, x_stride, lines, depth, weight[panel], out[panel * PANEL :], out_stride)


@part
def multiply_add_panel(
    x: np.ndarray, x_stride: int, lines: int, depth: int, weight: np.ndarray, out: np.ndarray, out_stride: int
) -> None:
    """The same for weight (depth, PANEL)."""
    multiply_add_runs(x, x_stride, lines, 1, 0, depth, 1, weight, PANEL, out, out_stride)


@part
def multiply_add_runs(
    x: np.ndarray,
    x_stride: int,
    lines: int,
    runs: int,
    x_run: int,
    depth: int,
    x_step: int,
    weight: np.ndarray,
    weight_stride: int,
    out: np.ndarray,
    out_stride: int,
) -> None:
    """As `_tile`, of any number of lines.

    Nothing is checked: x and out must hold every line, as a part of an array that begins behind its end begins at its
    end instead, and what lies there is read and written.
    """
    line = 0
    while line + LINES <= lines:
        first, into = x[line * x_stride :], out[line * out_stride :]
        some_lines(first, x_stride, runs, x_run, depth, x_step, weight, weight_stride, into, out_stride)
        line += LINES
    if line + 2 <= lines:
        first, into = x[line * x_stride :], out[line * out_stride :]
        two_lines(first, x_stride, runs, x_run, depth, x_step, weight, weight_stride, into, out_stride)
        line += 2
    if line < lines:
        first, into = x[line * x_stride :], out[line * out_stride :]
        one_line(first, x_stride, runs, x_run, depth, x_step, weight, weight_stride, into, out_stride)
