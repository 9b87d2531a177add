"""One position after another of some grids, compiled by numba.

What is computed is what `cached.py` computes. Code vectors run through the layers as rows of flat arrays: B rows of C
floats are (B C,), and where a picture, a position or a channel lies is told by its offset.

numba keeps what it has compiled for as long as this file stays the same, whatever the files that it imports: all that
is compiled is here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from stages.prior.compiled.packing import PANEL, Attentions, Convs, Weights
from stages.prior.compiled.state import Layers, State
from stages.prior.drawing import UNKNOWN

LINES = 4
"""Lines of a tile of the product."""
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan"},  # sums in any order; infinities stay what they are
}
F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = njit  # its types know neither all options nor that what it returns is called like what it is given


def part(function: F) -> F:
    """Compiled into what calls it; not to be called from Python."""
    compiled: F = _njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)
    return compiled


def whole(function: F) -> F:
    """Compiled with its parts at its first call, and kept beside this file for the next process."""
    compiled: F = _njit(cache=True, **_OPTIONS)(function)
    return compiled


# ---- the product ----------------------------------------------------------------------------------------------------


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


_one_line, _some_lines = _tile(1), _tile(LINES)


@part
def _multiply_add(
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
            _one_line(first, x_stride, depth, weight[panel], PANEL, columns[line * out_stride :], out_stride)
            line += 1


# ---- one position after another --------------------------------------------------------------------------------------

_LOG2_E = np.float32(1.44269504088896)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOWEST, _HIGHEST = np.float32(-87.0), np.float32(88.0)
_TERMS = tuple(np.float32(1 / factorial) for factorial in (2, 6, 24, 120, 720))
_HALF, _ONE, _NOTHING = np.float32(0.5), np.float32(1), np.float32(-np.inf)
_EPSILON = np.float32(torch.finfo(torch.float32).eps)  # of `nn.RMSNorm`


@intrinsic
def _two_to_the(_: Any, n: Any) -> Any:
    """2^n as float32 of an int32 in [-126, 127]: an exponent without a fraction."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        biased = builder.add(args[0], ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.int32), build


@part
def _exp(x: np.float32) -> np.float32:
    """e^x within 2e-7 of itself, in operations that a loop does many at a time, which the C library's is not."""
    x = min(max(x, _LOWEST), _HIGHEST)
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    a, b, c, d, e = _TERMS
    series = _ONE + r * (_ONE + r * (a + r * (b + r * (c + r * (d + r * e)))))
    return series * _two_to_the(np.int32(n))  # type: ignore[call-arg]


@part
def _elu(x: np.ndarray, out: np.ndarray, width: int) -> None:
    for i in range(width):
        out[i] = x[i] if x[i] > 0 else _exp(x[i]) - _ONE


@part
def _copy(x: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(x)):
        out[i] = x[i]


@part
def _add(x: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(out)):
        out[i] += x[i]


@part
def _rms_norm(x: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """As `nn.RMSNorm`, each C of (B C,)."""
    c = len(weight)
    for start in range(0, len(x), c):
        squares = np.float32(0)
        for i in range(c):
            squares += x[start + i] * x[start + i]
        scale = _ONE / np.sqrt(squares / np.float32(c) + _EPSILON)
        for i in range(c):
            out[start + i] = x[start + i] * scale * weight[i]


@part
def _begin_row(convs: Convs, layers: Layers, batch: int, side: int, row: int) -> None:
    """The share of the rows above, of every position of this row."""
    count, reach = convs.upper.shape[:2]
    depth, padded = convs.upper.shape[3], convs.bias.shape[1]
    width = depth // (2 * reach + 1)
    for layer in range(count):
        sums = layers.sums[layer]
        for start in range(0, len(sums), padded):
            _copy(convs.bias[layer], sums[start:])
        for above in range(max(row - reach, 0), row):
            weight, inputs = convs.upper[layer, above - row + reach], layers.rows[layer, above % (reach + 1)]
            for b in range(batch):
                first, out = inputs[b * (side + 2 * reach) * width :], sums[b * side * padded :]
                _multiply_add(first, width, side, depth, weight, out, padded)


@part
def _finish_position(
    convs: Convs, layers: Layers, layer: int, width: int, batch: int, side: int, row: int, column: int
) -> None:
    """Adds the share of this row's own inputs at a position, which are written: its sum is then the output."""
    reach, padded = convs.upper.shape[1], convs.bias.shape[1]
    first = layers.rows[layer, row % (reach + 1)][column * width :]
    out = layers.sums[layer][column * padded :]
    depth = convs.own.shape[2]
    _multiply_add(first, (side + 2 * reach) * width, batch, depth, convs.own[layer], out, side * padded)


@part
def _residual_block(weights: Weights, state: State, layer: int, batch: int, side: int, row: int, column: int) -> None:
    """x += glu(conv(elu(conv(elu(norm(x))))) + context), the context's share being in the sums already."""
    c, reach = weights.norm.shape[1], weights.conv_in.upper.shape[1]
    inner = weights.conv_out.own.shape[2] // (reach + 1)
    padded_in, padded_out = weights.conv_in.bias.shape[1], weights.conv_out.bias.shape[1]
    first, second = state.conv_in.rows[layer, row % (reach + 1)], state.conv_out.rows[layer, row % (reach + 1)]
    _rms_norm(state.x, weights.norm[layer], state.normed)
    for b in range(batch):
        place = b * (side + 2 * reach) + column + reach
        _elu(state.normed[b * c :], first[place * c :], c)
    _finish_position(weights.conv_in, state.conv_in, layer, c, batch, side, row, column)
    for b in range(batch):
        place = b * (side + 2 * reach) + column + reach
        _elu(state.conv_in.sums[layer][(b * side + column) * padded_in :], second[place * inner :], inner)
    _finish_position(weights.conv_out, state.conv_out, layer, inner, batch, side, row, column)
    for b in range(batch):
        hidden, x = state.conv_out.sums[layer][(b * side + column) * padded_out :], state.x[b * c :]
        for i in range(c):
            x[i] += hidden[i] / (_ONE + _exp(-hidden[c + i]))


@part
def _project(norm: np.ndarray, weight: np.ndarray, state: State, batch: int) -> None:
    """state.projected = norm(x) @ weight."""
    c, width = len(norm), len(state.projected) // batch
    _rms_norm(state.x, norm, state.normed)
    for i in range(len(state.projected)):
        state.projected[i] = 0
    _multiply_add(state.normed, c, batch, c, weight, state.projected, width)


@part
def _attend(
    query: np.ndarray, keys: np.ndarray, values: np.ndarray, visible: np.ndarray, scores: np.ndarray, out: np.ndarray
) -> None:
    """One head's attention: query (d,), which is changed, over the first n of keys and values (d,N).

    Args:
        visible: (n,) 0 where a position is seen, minus infinity elsewhere; n is a multiple of `PANEL`.
        scores: room for (n,).
        out: (d,) and more.
    """
    d, n = len(query), len(visible)
    for i in range(d):
        query[i] /= np.sqrt(np.float32(d))
    _copy(visible, scores)
    for start in range(0, n, PANEL):
        _one_line(query, 0, d, keys[0, start:], keys.shape[1], scores[start:], 0)
    highest, total = _highest_of(scores[:n]), np.float32(0)
    for j in range(n):
        scores[j] = _exp(scores[j] - highest)
        total += scores[j]
    for i in range(d):
        value, mean = values[i], np.float32(0)
        for j in range(n):
            mean += scores[j] * value[j]
        out[i] = mean / total


@part
def _highest_of(x: np.ndarray) -> np.float32:
    highest = x[0]
    for i in range(len(x)):
        highest = max(highest, x[i])
    return highest


@part
def _add_attended(attention: Attentions, state: State, block: int, batch: int) -> None:
    """x += attended @ out + bias."""
    c, width = attention.norm.shape[1], len(state.projected) // batch
    for b in range(batch):
        _copy(attention.bias[block], state.projected[b * width :])
    _multiply_add(state.attended, c, batch, c, attention.out[block], state.projected, width)
    for b in range(batch):
        _add(state.projected[b * width :], state.x[b * c : (b + 1) * c])


@part
def _self_attention(weights: Weights, state: State, block: int, batch: int, position: int) -> None:
    attention = weights.self_attention
    _project(attention.norm[block], attention.project[block], state, batch)
    c, width = attention.norm.shape[1], len(state.projected) // batch
    heads, d = state.keys.shape[2:4]
    state.visible[position] = 0
    reached = (position // PANEL + 1) * PANEL
    for b in range(batch):
        projected = state.projected[b * width : (b + 1) * width]
        for head in range(heads):
            keys, values = state.keys[block, b, head], state.values[block, b, head]
            for i in range(d):
                keys[i, position] = projected[c + head * d + i]
                values[i, position] = projected[2 * c + head * d + i]
            query, out = projected[head * d : (head + 1) * d], state.attended[b * c + head * d :]
            _attend(query, keys, values, state.visible[:reached], state.scores, out)
    _add_attended(attention, state, block, batch)


@part
def _text_attention(weights: Weights, state: State, block: int, batch: int) -> None:
    attention = weights.text_attention
    _project(attention.norm[block], attention.project[block], state, batch)
    c, width = attention.norm.shape[1], len(state.projected) // batch
    heads, d = state.text_keys.shape[2:4]
    for b in range(batch):
        for head in range(heads):
            start = b * width + head * d
            query, out = state.projected[start : start + d], state.attended[b * c + head * d :]
            keys, values = state.text_keys[block, b, head], state.text_values[block, b, head]
            _attend(query, keys, values, state.text_visible[b], state.scores, out)
    _add_attended(attention, state, block, batch)


@part
def _forward(weights: Weights, state: State, row: int, column: int) -> None:
    """The logits of one position."""
    batch, side, c = state.batch, weights.places.shape[1], len(weights.out_norm)
    padded = weights.start.bias.shape[1]
    _finish_position(weights.start, state.start, 0, c, batch, side, row, column)
    for b in range(batch):
        x = state.x[b * c : (b + 1) * c]
        _copy(weights.places[row, column], x)
        _add(state.start.sums[0][(b * side + column) * padded :], x)
        if len(state.context):
            _add(state.context[b, row][column * c :], x)
    residual_blocks = len(weights.norm) // weights.blocks
    for block in range(weights.blocks):
        for layer in range(block * residual_blocks, (block + 1) * residual_blocks):
            _residual_block(weights, state, layer, batch, side, row, column)
        if len(weights.self_attention.norm):
            _self_attention(weights, state, block, batch, row * side + column)
        if len(weights.text_attention.norm):
            _text_attention(weights, state, block, batch)
    _rms_norm(state.x, weights.out_norm, state.normed)
    width = len(weights.out_bias)
    for b in range(batch):
        _copy(weights.out_bias, state.logits[b * width :])
    _multiply_add(state.normed, c, batch, c, weights.out, state.logits, width)


@part
def _begin_rows(weights: Weights, state: State, row: int) -> None:
    """All that a row of the grid needs of the rows above, of the level above and of the pooled text."""
    batch, side, c = state.batch, weights.places.shape[1], len(weights.out_norm)
    _begin_row(weights.start, state.start, batch, side, row)
    _begin_row(weights.conv_in, state.conv_in, batch, side, row)
    _begin_row(weights.conv_out, state.conv_out, batch, side, row)
    padded = weights.conv_out.bias.shape[1]
    for layer in range(len(weights.from_context)):
        for b in range(batch):
            out = state.conv_out.sums[layer][b * side * padded :]
            _multiply_add(state.context[b, row], c, side, c, weights.from_context[layer], out, padded)
    for layer in range(len(state.gates)):
        for b in range(batch):
            for column in range(side):
                place = (b * side + column) * padded
                _add(state.gates[layer][b * padded :], state.conv_out.sums[layer][place : place + padded])


# ---- drawing ---------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """`SamplingOptions` as the compiled code takes them."""

    temperature: float
    top_k: int
    top_p: float
    guidance_scale: float


@part
def _log_softmax(logits: np.ndarray) -> None:
    """In place, (K,)."""
    highest, total = _highest_of(logits), np.float32(0)
    for k in range(len(logits)):
        total += _exp(logits[k] - highest)
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
def _weight_above(logits: np.ndarray, weights: np.ndarray, value: np.float32) -> np.float32:
    total = np.float32(0)
    for k in range(len(logits)):
        total += weights[k] if logits[k] > value else np.float32(0)
    return total


@part
def _bound(logits: np.ndarray, weights: np.ndarray, wanted: np.float32) -> np.float32:
    """What a logit of (K,) must be above so that less than `wanted` of the weight (K,) lies above the logit.

    Found by halving the interval that it lies in: a sum needs no sorting. What is e^100 times less likely than the
    likeliest is never drawn, and the interval ends there.
    """
    high = _highest_of(logits)
    low = high - np.float32(100)
    if _weight_above(logits, weights, low) < wanted:
        return low
    while True:
        middle = (low + high) * _HALF
        if middle <= low or middle >= high:
            return low
        if _weight_above(logits, weights, middle) < wanted:
            high = middle
        else:
            low = middle


@part
def _draw(logits: np.ndarray, noise: np.ndarray, weights: np.ndarray, rule: Rule) -> int:
    """As `drawing.draw`, one row: logits (K,), which are changed, noise (K,) and room for (K,)."""
    bound, strength = _NOTHING, np.float32(0)
    if rule.temperature > 0:
        strength = _ONE
        for k in range(len(logits)):
            logits[k] /= np.float32(rule.temperature)
            weights[k] = 1
        if 0 < rule.top_k < len(logits):
            bound = _bound(logits, weights, np.float32(rule.top_k))
        if rule.top_p < 1:
            highest, total = _highest_of(logits), np.float32(0)
            for k in range(len(logits)):
                weights[k] = _exp(logits[k] - highest) if logits[k] > bound else np.float32(0)
                total += weights[k]
            bound = max(bound, _bound(logits, weights, np.float32(rule.top_p) * total))
    best, drawn = _NOTHING, 0
    for k in range(len(logits)):
        value = logits[k] + strength * noise[k]
        if logits[k] > bound and value > best:
            best, drawn = value, k
    return drawn


@part
def _remember_codes(weights: Weights, state: State, codes: np.ndarray, row: int, column: int) -> None:
    """The codes just drawn, embedded, as the first convolution's inputs."""
    c, reach, side = len(weights.out_norm), weights.start.upper.shape[1], codes.shape[2]
    inputs = state.start.rows[0, row % (reach + 1)]
    for b in range(state.batch):
        place = b * (side + 2 * reach) + column + reach
        _copy(weights.embedding[codes[b % len(codes), row, column]], inputs[place * c :])


@whole
def draw_row(
    weights: Weights, state: State, rule: Rule, noise: np.ndarray, known: np.ndarray, codes: np.ndarray, row: int
) -> None:
    """One row of the grids: noise (B,N,K) or, with guidance, of half the state's rows; known and codes (B,H,W)."""
    _begin_rows(weights, state, row)
    side, count, width = codes.shape[2], noise.shape[2], len(weights.out_bias)
    room = np.empty(count, np.float32)
    for column in range(side):
        _forward(weights, state, row, column)
        for b in range(len(codes)):
            code = known[b, row, column]
            if code == UNKNOWN:
                logits = state.logits[b * width : b * width + count]
                if len(codes) < state.batch:
                    start = (len(codes) + b) * width
                    _guide(logits, state.logits[start : start + count], rule.guidance_scale)
                code = _draw(logits, noise[b, row * side + column], room, rule)
            codes[b, row, column] = code
        _remember_codes(weights, state, codes, row, column)
