"""The network's forward pass, one position of some grids after another.

What is computed is what `cached.py` computes. Code vectors run through the layers as rows of flat arrays: B rows of C
floats are (B C,), and where a picture, a position or a channel lies is told by its offset.
"""

import numpy as np

from stages.prior.compiled.attention import CHANNELS, attend
from stages.prior.compiled.packing import Attentions, Convs, Weights
from stages.prior.compiled.state import Layers, State
from stages.prior.kernels.compiling import part
from stages.prior.kernels.elementwise import ONE, add, copy, elu, exp, rms_norm
from stages.prior.kernels.product import multiply_add
from stages.prior.kernels.vectors import PANEL


@part
def _begin_row(convs: Convs, layers: Layers, batch: int, side: int, row: int) -> None:
    """The share of the rows above, of every position of this row."""
    count, reach = convs.upper.shape[:2]
    depth, padded = convs.upper.shape[3], convs.bias.shape[1]
    width = depth // (2 * reach + 1)
    for layer in range(count):
        sums = layers.sums[layer]
        for start in range(0, len(sums), padded):
            copy(convs.bias[layer], sums[start:])
        for above in range(max(row - reach, 0), row):
            weight, inputs = convs.upper[layer, above - row + reach], layers.rows[layer, above % (reach + 1)]
            for b in range(batch):
                first, out = inputs[b * (side + 2 * reach) * width :], sums[b * side * padded :]
                multiply_add(first, width, side, depth, weight, out, padded)


@part
def _finish_position(
    convs: Convs, layers: Layers, layer: int, width: int, batch: int, side: int, row: int, column: int
) -> None:
    """Adds the share of this row's own inputs at a position, which are written: its sum is then the output."""
    reach, padded = convs.upper.shape[1], convs.bias.shape[1]
    first = layers.rows[layer, row % (reach + 1)][column * width :]
    out = layers.sums[layer][column * padded :]
    depth = convs.own.shape[2]
    multiply_add(first, (side + 2 * reach) * width, batch, depth, convs.own[layer], out, side * padded)


@part
def _residual_block(weights: Weights, state: State, layer: int, batch: int, side: int, row: int, column: int) -> None:
    """x += glu(conv(elu(conv(elu(norm(x))))) + context), the context's share being in the sums already."""
    c, reach = weights.norm.shape[1], weights.conv_in.upper.shape[1]
    inner = weights.conv_out.own.shape[2] // (reach + 1)
    padded_in, padded_out = weights.conv_in.bias.shape[1], weights.conv_out.bias.shape[1]
    first, second = state.conv_in.rows[layer, row % (reach + 1)], state.conv_out.rows[layer, row % (reach + 1)]
    rms_norm(state.x, weights.norm[layer], state.normed)
    for b in range(batch):
        place = b * (side + 2 * reach) + column + reach
        elu(state.normed[b * c :], first[place * c :], c)
    _finish_position(weights.conv_in, state.conv_in, layer, c, batch, side, row, column)
    for b in range(batch):
        place = b * (side + 2 * reach) + column + reach
        elu(state.conv_in.sums[layer][(b * side + column) * padded_in :], second[place * inner :], inner)
    _finish_position(weights.conv_out, state.conv_out, layer, inner, batch, side, row, column)
    for b in range(batch):
        hidden, x = state.conv_out.sums[layer][(b * side + column) * padded_out :], state.x[b * c :]
        gate = hidden[c:]
        for i in range(c):
            x[i] += hidden[i] / (ONE + exp(-gate[i]))


@part
def _project(norm: np.ndarray, weight: np.ndarray, state: State, batch: int) -> None:
    """state.projected = norm(x) @ weight."""
    c, width = len(norm), len(state.projected) // batch
    rms_norm(state.x, norm, state.normed)
    for i in range(len(state.projected)):
        state.projected[i] = 0
    multiply_add(state.normed, c, batch, c, weight, state.projected, width)


@part
def _add_attended(attention: Attentions, state: State, block: int, batch: int) -> None:
    """x += attended @ out + bias."""
    c, width = attention.norm.shape[1], len(state.projected) // batch
    for b in range(batch):
        copy(attention.bias[block], state.projected[b * width :])
    multiply_add(state.attended, c, batch, c, attention.out[block], state.projected, width)
    for b in range(batch):
        add(state.projected[b * width :], state.x[b * c : (b + 1) * c])


@part
def _self_attention(weights: Weights, state: State, block: int, batch: int, position: int) -> None:
    attention = weights.self_attention
    _project(attention.norm[block], attention.project[block], state, batch)
    c, width = attention.norm.shape[1], len(state.projected) // batch
    heads, d = state.keys.shape[2], state.keys.shape[4]
    panel, lane = position // PANEL, position % PANEL
    state.visible[position] = 0
    reached = (panel + 1) * PANEL
    for b in range(batch):
        projected = state.projected[b * width : (b + 1) * width]
        for head in range(heads):
            keys, values = state.keys[block, b, head], state.values[block, b, head]
            key, value = projected[c + head * d :], projected[2 * c + head * d :]
            for i in range(d):
                keys[panel, i, lane] = key[i]
                values[i // CHANNELS, panel, i % CHANNELS, lane] = value[i]
            query, out = projected[head * d : (head + 1) * d], state.attended[b * c + head * d :]
            attend(query, keys, values, state.visible[:reached], state.scores, state.sums, out)
    _add_attended(attention, state, block, batch)


@part
def _text_attention(weights: Weights, state: State, block: int, batch: int) -> None:
    attention = weights.text_attention
    _project(attention.norm[block], attention.project[block], state, batch)
    c, width = attention.norm.shape[1], len(state.projected) // batch
    heads, d = state.text_keys.shape[2], state.text_keys.shape[4]
    for b in range(batch):
        for head in range(heads):
            start = b * width + head * d
            query, out = state.projected[start : start + d], state.attended[b * c + head * d :]
            keys, values = state.text_keys[block, b, head], state.text_values[block, b, head]
            attend(query, keys, values, state.text_visible[b], state.scores, state.sums, out)
    _add_attended(attention, state, block, batch)


@part
def forward(weights: Weights, state: State, row: int, column: int) -> None:
    """The logits of one position."""
    batch, side, c = state.batch, weights.places.shape[1], len(weights.out_norm)
    padded = weights.start.bias.shape[1]
    _finish_position(weights.start, state.start, 0, c, batch, side, row, column)
    for b in range(batch):
        x = state.x[b * c : (b + 1) * c]
        copy(weights.places[row, column], x)
        add(state.start.sums[0][(b * side + column) * padded :], x)
        if len(state.context):
            add(state.context[b, row][column * c :], x)
    residual_blocks = len(weights.norm) // weights.blocks
    for block in range(weights.blocks):
        for layer in range(block * residual_blocks, (block + 1) * residual_blocks):
            _residual_block(weights, state, layer, batch, side, row, column)
        if len(weights.self_attention.norm):
            _self_attention(weights, state, block, batch, row * side + column)
        if len(weights.text_attention.norm):
            _text_attention(weights, state, block, batch)
    rms_norm(state.x, weights.out_norm, state.normed)
    width = len(weights.out_bias)
    for b in range(batch):
        copy(weights.out_bias, state.logits[b * width :])
    multiply_add(state.normed, c, batch, c, weights.out, state.logits, width)


@part
def begin_rows(weights: Weights, state: State, row: int) -> None:
    """All that a row of the grid needs of the rows above, of the level above and of the pooled text."""
    batch, side, c = state.batch, weights.places.shape[1], len(weights.out_norm)
    _begin_row(weights.start, state.start, batch, side, row)
    _begin_row(weights.conv_in, state.conv_in, batch, side, row)
    _begin_row(weights.conv_out, state.conv_out, batch, side, row)
    padded = weights.conv_out.bias.shape[1]
    for layer in range(len(weights.from_context)):
        for b in range(batch):
            out = state.conv_out.sums[layer][b * side * padded :]
            multiply_add(state.context[b, row], c, side, c, weights.from_context[layer], out, padded)
    for layer in range(len(state.gates)):
        for b in range(batch):
            for column in range(side):
                place = (b * side + column) * padded
                add(state.gates[layer][b * padded :], state.conv_out.sums[layer][place : place + padded])


@part
def remember_codes(weights: Weights, state: State, codes: np.ndarray, row: int, column: int) -> None:
    """The codes just drawn, embedded, as the first convolution's inputs."""
    c, reach, side = len(weights.out_norm), weights.start.upper.shape[1], codes.shape[2]
    inputs = state.start.rows[0, row % (reach + 1)]
    for b in range(state.batch):
        place = b * (side + 2 * reach) + column + reach
        copy(weights.embedding[codes[b % len(codes), row, column]], inputs[place * c :])
