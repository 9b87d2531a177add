"""One query over what was remembered: at the larger grids half of a position's work, most of it reading memory.

Keys lie in panels of `PANEL` positions, (panels, d, PANEL), and values channel by channel, `CHANNELS` at a time,
(d / CHANNELS, panels, CHANNELS, PANEL), so that both are read from start to end with their sums in registers.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from stages.prior.kernels.compiling import part
from stages.prior.kernels.elementwise import exp, highest_of
from stages.prior.kernels.product import LINES
from stages.prior.kernels.vectors import (
    FLOAT,
    INT32,
    PANEL,
    add,
    everywhere,
    fold,
    load,
    multiply,
    starts_of,
    times,
    vector_at,
)

CHANNELS = LINES
"""Channels of the values that are summed together; the last ones are filled up with zeros."""


@part
def attend(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    visible: np.ndarray,
    scores: np.ndarray,
    sums: np.ndarray,
    out: np.ndarray,
) -> None:
    """One head's attention: query (d,), which is changed, over the first n keys and values, of as many or more.

    Args:
        visible: (n,) 0 where a position is seen, minus infinity elsewhere; n is a multiple of `PANEL`.
        scores: room for (n,).
        sums: room for (CHANNELS,).
        out: (d,) and more.
    """
    d, panels = len(query), len(visible) // PANEL
    for i in range(d):
        query[i] /= np.sqrt(np.float32(d))
    panel = 0
    while panel + LINES <= panels:
        _put_scores(query, d, keys[panel], visible[panel * PANEL :], scores[panel * PANEL :])
        panel += LINES
    while panel < panels:
        _put_scores_of_panel(query, d, keys[panel], visible[panel * PANEL :], scores[panel * PANEL :])
        panel += 1
    highest, total = highest_of(scores[: len(visible)]), np.float32(0)
    for j in range(len(visible)):
        scores[j] = exp(scores[j] - highest)
        total += scores[j]
    for first in range(0, d, CHANNELS):
        _put_weighted_sums(scores, values[first // CHANNELS], panels, sums)  # type: ignore[call-arg]
        for i in range(min(CHANNELS, d - first)):
            out[first + i] = sums[i] / total


def _scores_tile(panels: int) -> Any:
    """scores[: panels PANEL] = visible + query @ keys of so many panels (panels, d, PANEL)."""

    @intrinsic
    def tile(_: Any, query: Any, d: Any, keys: Any, visible: Any, scores: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            query_start, keys_start, *ends = starts_of(context, builder, signature, args, (0, 2, 3, 4))
            offsets = [ir.Constant(args[1].type, panel * PANEL) for panel in range(panels)]
            seen, into = ([vector_at(builder, end, offset, PANEL) for offset in offsets] for end in ends)
            sums = [cgutils.alloca_once_value(builder, builder.load(place, align=4)) for place in seen]
            of_panel = times(builder, args[1], PANEL)
            with cgutils.for_range(builder, args[1]) as step:
                value = everywhere(builder, builder.load(builder.gep(query_start, [step.index])), PANEL)
                for panel, total in enumerate(sums):
                    offset = builder.add(times(builder, of_panel, panel), times(builder, step.index, PANEL))
                    key = load(builder, keys_start, offset, PANEL)
                    builder.store(add(builder, multiply(builder, value, key), builder.load(total)), total)
            for place, total in zip(into, sums, strict=True):
                builder.store(builder.load(total), place, align=4)
            return context.get_dummy_value()

        return types.void(query, types.intp, keys, visible, scores), build

    return tile


_put_scores, _put_scores_of_panel = _scores_tile(LINES), _scores_tile(1)


@intrinsic
def _put_weighted_sums(_: Any, weights: Any, values: Any, panels: Any, sums: Any) -> Any:
    """sums[i] = weights @ values[:, i] of each channel i of (panels, CHANNELS, PANEL), weights (panels PANEL,)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights_start, values_start, sums_start = starts_of(context, builder, signature, args, (0, 1, 3))
        zeros = ir.Constant(ir.VectorType(FLOAT, PANEL), [0.0] * PANEL)
        totals = [cgutils.alloca_once_value(builder, zeros) for _ in range(CHANNELS)]
        with cgutils.for_range(builder, args[2]) as panel:
            weight = load(builder, weights_start, times(builder, panel.index, PANEL), PANEL)
            for channel, total in enumerate(totals):
                number = builder.add(times(builder, panel.index, CHANNELS), ir.Constant(args[2].type, channel))
                value = load(builder, values_start, times(builder, number, PANEL), PANEL)
                builder.store(add(builder, multiply(builder, weight, value), builder.load(total)), total)
        for channel, total in enumerate(totals):
            place = builder.gep(sums_start, [ir.Constant(INT32, channel)])
            folded = fold(builder, builder.load(total), 1, add)
            builder.store(builder.extract_element(folded, ir.Constant(INT32, 0)), place)
        return context.get_dummy_value()

    return types.void(weights, values, types.intp, sums), build
