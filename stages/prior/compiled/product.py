"""The product of a few rows with a small matrix, which nearly all of a position's work is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from stages.prior.compiled.compiling import part
from stages.prior.compiled.packing import PANEL

LINES = 4
"""Lines of a tile."""


def _tile(lines: int) -> Callable[..., None]:
    """out[line, :PANEL] += x[line, :depth] @ weight[:depth, :PANEL] for so many lines, the sums kept in registers.

    Lines of x, weight and out are as many floats apart as their strides. In LLVM's own words, because no loop that
    numba compiles keeps its sums in vector registers.
    """
    vector = ir.VectorType(ir.FloatType(), PANEL)
    undefined, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), PANEL), [0] * PANEL)

    @intrinsic
    def tile(
        _: Any, x: Any, x_stride: Any, depth: Any, weight: Any, weight_stride: Any, out: Any, out_stride: Any
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            start = [context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 3, 5)]
            x_stride, depth, weight_stride, out_stride = (args[i] for i in (1, 2, 4, 6))

            def element(base: Any, *offsets: Any) -> Any:
                for offset in offsets:
                    base = builder.gep(base, [offset])
                return base

            def as_vector(pointer: Any) -> Any:
                return builder.bitcast(pointer, vector.as_pointer())

            def times(stride: Any, line: int) -> Any:
                return builder.mul(stride, ir.Constant(stride.type, line))

            places = [as_vector(element(start[2], times(out_stride, line))) for line in range(lines)]
            sums = [cgutils.alloca_once(builder, vector) for _ in places]
            for place, total in zip(places, sums, strict=True):
                builder.store(builder.load(place, align=4), total)
            with cgutils.for_range(builder, depth) as loop:
                place = builder.mul(loop.index, weight_stride)
                row = builder.load(as_vector(element(start[1], place)), align=4)
                for line, total in enumerate(sums):
                    value = builder.load(element(start[0], times(x_stride, line), loop.index))
                    spread = builder.shuffle_vector(
                        builder.insert_element(undefined, value, first), undefined, everywhere
                    )
                    product = builder.fmul(spread, row, flags=["contract"])
                    builder.store(builder.fadd(product, builder.load(total), flags=["contract"]), total)
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
