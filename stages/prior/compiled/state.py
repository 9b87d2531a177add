"""What the compiled sampler remembers of the pictures that it draws."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.prior.compiled.attention import CHANNELS
from stages.prior.compiled.packing import Convs, Weights, as_array, padded, stack, zeros
from stages.prior.kernels.vectors import PANEL
from stages.prior.pixelsnail import Conditioning, PixelSNAIL


class Layers(NamedTuple):
    """What the convolutions of one shape remember of B rows."""

    rows: np.ndarray
    """(L, reach + 1, B (W + 2 reach) I): the inputs of this grid row and of those above, in turn; zeros at the ends."""
    sums: np.ndarray
    """(L, B W panels PANEL): of this grid row, the share of the rows above and, at a position reached, the output."""


class State(NamedTuple):
    """B rows while they are drawn; with guidance, the captioned ones and behind them the same uncaptioned."""

    batch: int
    start: Layers
    conv_in: Layers
    conv_out: Layers
    keys: np.ndarray
    """(A, B, heads, panels, d, PANEL) of self-attention, of all positions."""
    values: np.ndarray
    """(A, B, heads, d / CHANNELS, panels, CHANNELS, PANEL), d rounded up."""
    visible: np.ndarray
    """(N,), N being the positions, rounded up to full panels: 0 where one is reached, minus infinity elsewhere."""
    text_keys: np.ndarray
    """(A, B, heads, panels, d, PANEL) of all tokens."""
    text_values: np.ndarray
    """(A, B, heads, d / CHANNELS, panels, CHANNELS, PANEL), d rounded up."""
    text_visible: np.ndarray
    """(B,T), T being the tokens, rounded up to full panels: 0 for a token, minus infinity for none."""
    context: np.ndarray
    """(B, H, W C); of no rows on the top level."""
    gates: np.ndarray
    """(L, B panels PANEL) what the pooled text adds to a gated unit; of no layers where it is not pooled."""
    x: np.ndarray
    """(B C,) what runs through the layers."""
    normed: np.ndarray
    """(B C,)."""
    projected: np.ndarray
    """(B panels PANEL,), wide enough for queries, keys and values."""
    attended: np.ndarray
    """(B C,)."""
    scores: np.ndarray
    """(N or T, whichever is more)."""
    sums: np.ndarray
    """(CHANNELS,)."""
    logits: np.ndarray
    """(B panels PANEL,)."""
    room: np.ndarray
    """(K,)."""


def start_state(network: PixelSNAIL, weights: Weights, conditioning: Conditioning) -> State:
    """Of B rows of conditioning, before the first position; what the conditioning decides is computed here."""
    sizes, batch = network.sizes, conditioning.batch_size
    side, c, heads = sizes.side, sizes.channels, sizes.heads
    panels = -(-(side**2) // PANEL)
    of_heads = (len(weights.self_attention.norm), batch, heads)
    d = c // heads
    text_keys, text_values, text_visible = _text(network, conditioning)
    widest = max(weights.self_attention.project.shape[1], weights.text_attention.project.shape[1]) * PANEL

    def layers(convs: Convs, width: int) -> Layers:
        count, reach = convs.upper.shape[:2]
        rows = zeros(count, reach + 1, batch * (side + 2 * reach) * width)
        return Layers(rows, zeros(count, batch * side * convs.bias.shape[1]))

    return State(
        batch=batch,
        start=layers(weights.start, c),
        conv_in=layers(weights.conv_in, c),
        conv_out=layers(weights.conv_out, sizes.residual_channels),
        keys=zeros(*of_heads, panels, d, PANEL),
        values=zeros(*of_heads, -(-d // CHANNELS), panels, CHANNELS, PANEL),
        visible=np.full(panels * PANEL, -np.inf, np.float32),
        text_keys=text_keys,
        text_values=text_values,
        text_visible=text_visible,
        context=zeros(0, 0, 0) if conditioning.context is None else as_array(conditioning.context.flatten(2)),
        gates=_gates(network, conditioning),
        x=zeros(batch * c),
        normed=zeros(batch * c),
        projected=zeros(batch * widest),
        attended=zeros(batch * c),
        scores=zeros(max(panels * PANEL, text_visible.shape[-1])),
        sums=zeros(CHANNELS),
        logits=zeros(batch * len(weights.out_bias)),
        room=zeros(sizes.codebook_size),
    )


def _text(network: PixelSNAIL, conditioning: Conditioning) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys and values of the cross-attention; 0 where there is a token, minus infinity elsewhere."""
    text, mask = conditioning.text, conditioning.text_mask
    if text is None or mask is None:
        return zeros(0, 0, 0, 0, 0, 0), zeros(0, 0, 0, 0, 0, 0, 0), zeros(0, 0)
    pairs = [block.text_attention.key_value(text) for block in network.blocks]  # type: ignore[union-attr,operator]
    keys, values = (torch.stack(each).transpose(-1, -2) for each in zip(*pairs, strict=True))
    visible = torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
    behind = (0, -mask.shape[1] % PANEL)
    in_panels = padded(keys).unflatten(-1, (-1, PANEL)).transpose(-2, -3)
    return as_array(in_panels), _by_channels(values), as_array(F.pad(visible, behind, value=-math.inf))


def _by_channels(values: Tensor) -> np.ndarray:
    """(A,B,heads,d,T) -> (A,B,heads,d / CHANNELS,panels,CHANNELS,PANEL)."""
    filled = F.pad(padded(values), (0, 0, 0, -values.shape[-2] % CHANNELS))
    return as_array(filled.unflatten(-1, (-1, PANEL)).unflatten(-3, (-1, CHANNELS)).transpose(-2, -3))


def _gates(network: PixelSNAIL, conditioning: Conditioning) -> np.ndarray:
    if conditioning.gate is None:
        return zeros(0, 0)
    return stack(
        [
            padded(layer.from_text(conditioning.gate)).flatten()
            for block in network.blocks
            for layer in block.residual_blocks  # type: ignore[union-attr]
        ]
    )
