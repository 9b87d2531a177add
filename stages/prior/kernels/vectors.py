"""LLVM's own words for what no loop that numba compiles does: vectors that stay in registers from round to round."""

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir

PANEL = 64 if binding.get_host_cpu_features().get("avx512f") else 16
"""Columns of a tile of a product: with four lines, as many sums as the processor's registers hold. Also positions of a
panel of keys and values."""

FLOAT, INT32 = ir.FloatType(), ir.IntType(32)
Combine = Callable[[Any, Any, Any], Any]
"""A builder and two vectors -> one vector."""


def starts_of(context: Any, builder: Any, signature: Any, args: Any, places: tuple[int, ...]) -> list[Any]:
    """Pointers to the first floats of the arrays at these places of the arguments."""
    return [context.make_array(signature.args[place])(context, builder, args[place]).data for place in places]


def times(builder: Any, index: Any, width: int) -> Any:
    """index * width."""
    return builder.mul(index, ir.Constant(index.type, width))


def vector_at(builder: Any, start: Any, offset: Any, width: int) -> Any:
    """Pointer to so many floats, `offset` floats behind a pointer to float; None: right there."""
    place = start if offset is None else builder.gep(start, [offset])
    return builder.bitcast(place, ir.VectorType(FLOAT, width).as_pointer())


def load(builder: Any, start: Any, offset: Any, width: int) -> Any:
    """So many floats from there."""
    return builder.load(vector_at(builder, start, offset, width), align=4)


def everywhere(builder: Any, value: Any, width: int) -> Any:
    """A vector of one float."""
    nothing = ir.Constant(ir.VectorType(FLOAT, width), ir.Undefined)
    places = ir.Constant(ir.VectorType(INT32, width), [0] * width)
    return builder.shuffle_vector(builder.insert_element(nothing, value, ir.Constant(INT32, 0)), nothing, places)


def fold(builder: Any, vector: Any, width: int, combine: Combine) -> Any:
    """A vector of that width: half after half combined with the other half."""
    while vector.type.count > width:
        half, nothing = vector.type.count // 2, ir.Constant(vector.type, ir.Undefined)
        low, high = (
            builder.shuffle_vector(vector, nothing, ir.Constant(ir.VectorType(INT32, half), list(lanes)))
            for lanes in (range(half), range(half, 2 * half))
        )
        vector = combine(builder, low, high)
    return vector


def add(builder: Any, left: Any, right: Any) -> Any:
    """Sums."""
    return builder.fadd(left, right, flags=["contract"])


def multiply(builder: Any, left: Any, right: Any) -> Any:
    """Products, each in one operation with a sum that it goes into."""
    return builder.fmul(left, right, flags=["contract"])


def higher(builder: Any, left: Any, right: Any) -> Any:
    """The higher ones."""
    return builder.select(builder.fcmp_ordered(">", left, right), left, right)
