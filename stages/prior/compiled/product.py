"""The product of a few rows with a small matrix, which nearly all of a position's work is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from stages.prior.compiled.compiling import part
from stages.prior.compiled.packing import PANEL
from stages.prior.compiled.vectors import add, everywhere, load, multiply, starts_of, times, vector_at

LINES = 4
"""Lines of a tile."""


def _tile(lines: int) -> Callable[..., None]:
    """out[line, :PANEL] += x[line, :depth] @ weight[:depth, :PANEL] for so many lines, the sums kept in registers.

    Lines of x, weight and out are as many floats apart as their strides.
    """

    @intrinsic
    def tile(
        _: Any, x: Any, x_stride: Any, depth: Any, weight: Any, weight_stride: Any, out: Any, out_stride: Any
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x_start, weight_start, out_start = starts_of(context, builder, signature, args, (0, 3, 5))
            x_stride, depth, weight_stride, out_stride = (args[i] for i in (1, 2, 4, 6))
            places = [vector_at(builder, out_start, times(builder, out_stride, line), PANEL) for line in range(lines)]
            lines_start = [builder.gep(x_start, [times(builder, x_stride, line)]) for line in range(lines)]
            sums = [cgutils.alloca_once_value(builder, builder.load(place, align=4)) for place in places]
            with cgutils.for_range(builder, depth) as loop:
                row = load(builder, weight_start, builder.mul(loop.index, weight_stride), PANEL)
                for start, total in zip(lines_start, sums, strict=True):
                    value = everywhere(builder, builder.load(builder.gep(start, [loop.index])), PANEL)
                    builder.store(add(builder, multiply(builder, value, row), builder.load(total)), total)
            for place, total in zip(places, sums, strict=True):
                builder.store(builder.load(total), place, align=4)
            return context.get_dummy_value()

        return types.void(x, types.intp, types.intp, weight, types.intp, out, types.intp), build

    return tile


one_line, _some_lines = _tile(1), _tile(LINES)


@part
def multiply_add(
    x: np.ndarray, x_stride: int, lines: int, depth: int, weight: np.ndarray, out: np.ndarray, out_stride: int
) -> None:
    """out[line] += x[line, :depth] @ weight (panels, depth, PANEL); x and out are 1-D and begin at line 0."""
    for panel in range(weight.shape[0]):
        columns, line = out[panel * PANEL :], 0
        while line + LINES <= lines:
            first = x[line * x_stride :]
            _some_lines(first, x_stride, depth, weight[panel], PANEL, columns[line * out_stride :], out_stride)
            line += LINES
        while line < lines:
            first = x[line * x_stride :]
            one_line(first, x_stride, depth, weight[panel], PANEL, columns[line * out_stride :], out_stride)
            line += 1
