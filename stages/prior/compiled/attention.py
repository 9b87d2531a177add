"""One query over what was remembered: at the larger grids half of a position's work, most of it reading memory.

Keys and values lie in panels of `PANEL` positions, (panels, d, PANEL), so that they are read from start to end.
"""

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from stages.prior.kernels.compiling import part
from stages.prior.kernels.elementwise import copy, exp, highest_of
from stages.prior.kernels.product import one_line
from stages.prior.kernels.vectors import PANEL, add, fold, load, multiply, starts_of, times, vector_at

LANES = 16
"""Sums that are kept of each value's channel until the last position."""


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
    """One head's attention: query (d,), which is changed, over keys and values (n / PANEL or more, d, PANEL).

    Args:
        visible: (n,) 0 where a position is seen, minus infinity elsewhere; n is a multiple of `PANEL`.
        scores: room for (n,).
        sums: room for (d LANES,).
        out: (d,) and more.
    """
    d, panels = len(query), len(visible) // PANEL
    for i in range(d):
        query[i] /= np.sqrt(np.float32(d))
    copy(visible, scores)
    for panel in range(panels):
        one_line(query, 0, 1, 0, d, 1, keys[panel], PANEL, scores[panel * PANEL :], 0)
    highest, total = highest_of(scores[: len(visible)]), np.float32(0)
    for j in range(len(visible)):
        scores[j] = exp(scores[j] - highest)
        total += scores[j]
    for i in range(d * LANES):
        sums[i] = 0
    for panel in range(panels):
        _add_weighted(scores[panel * PANEL :], values[panel], d, sums)  # type: ignore[call-arg]
    for i in range(d):
        lanes, mean = sums[i * LANES :], np.float32(0)
        for lane in range(LANES):
            mean += lanes[lane]
        out[i] = mean / total


@intrinsic
def _add_weighted(_: Any, weights: Any, values: Any, rows: Any, sums: Any) -> Any:
    """sums[i LANES : (i + 1) LANES] += weights[:PANEL] * values[i, :PANEL], folded to so many lanes, of each row i.

    A loop that numba compiles adds the lanes up for every row and panel.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights_start, values_start, sums_start = starts_of(context, builder, signature, args, (0, 1, 3))
        weight = load(builder, weights_start, None, PANEL)
        with cgutils.for_range(builder, args[2]) as loop:
            value = load(builder, values_start, times(builder, loop.index, PANEL), PANEL)
            folded = fold(builder, multiply(builder, weight, value), LANES, add)
            place = vector_at(builder, sums_start, times(builder, loop.index, LANES), LANES)
            builder.store(add(builder, folded, builder.load(place, align=4)), place, align=4)
        return context.get_dummy_value()

    return types.void(weights, values, types.intp, sums), build
