"""The weights of a PixelSNAIL as the compiled sampler reads them.

A matrix lies in panels of as many columns as a tile of the product has, `(panels, depth, PANEL)`, padded with zeros.
All arrays are float32 and C-contiguous.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.prior.kernels.vectors import PANEL
from stages.prior.pixelsnail import Attention, Block, CausalConv2d, GatedResidualBlock, PixelSNAIL

CACHE_LINE = 16
"""Floats in a line of the processor's cache."""


class Convs(NamedTuple):
    """Causal convolutions of one shape, I to O channels, one for each layer."""

    upper: np.ndarray
    """(L, reach, panels, (2 reach + 1) I, PANEL) the rows above, the farthest first."""
    own: np.ndarray
    """(L, panels, taps I, PANEL) the taps to the left, and on the position itself unless it is left out."""
    bias: np.ndarray
    """(L, panels PANEL)."""


class Attentions(NamedTuple):
    """Attention layers, one for each block; none where the network has none."""

    norm: np.ndarray
    """(A,C)."""
    project: np.ndarray
    """(A, panels, C, PANEL) to queries or, of self-attention, to queries, keys and values."""
    out: np.ndarray
    """(A, panels, C, PANEL)."""
    bias: np.ndarray
    """(A, panels PANEL)."""


class Weights(NamedTuple):
    """A `PixelSNAIL` as the compiled sampler reads it."""

    blocks: int
    embedding: np.ndarray
    """(K,C)."""
    places: np.ndarray
    """(H,W,C)."""
    start: Convs
    norm: np.ndarray
    """(L,C) of each residual block."""
    conv_in: Convs
    conv_out: Convs
    from_context: np.ndarray
    """(L, panels, C, PANEL); L is 0 on the top level."""
    self_attention: Attentions
    text_attention: Attentions
    out_norm: np.ndarray
    """(C,)."""
    out: np.ndarray
    """(panels, C, PANEL) to logits."""
    out_bias: np.ndarray
    """(panels PANEL,)."""


def pack(network: PixelSNAIL) -> Weights:
    """The weights of a network on the processor, copied."""
    blocks: list[Block] = list(network.blocks)  # type: ignore[arg-type]
    residual: list[GatedResidualBlock] = [layer for block in blocks for layer in block.residual_blocks]  # type: ignore[misc]
    out_norm: nn.RMSNorm = network.out[0]  # type: ignore[assignment]
    to_logits: nn.Linear = network.out[1]  # type: ignore[assignment]
    return Weights(
        blocks=len(blocks),
        embedding=as_array(network.embedding.weight),
        places=as_array(network.row + network.column),
        start=_pack_convs([network.start]),
        norm=stack([layer.norm.weight for layer in residual]),
        conv_in=_pack_convs([layer.conv_in for layer in residual]),
        conv_out=_pack_convs([layer.conv_out for layer in residual]),
        from_context=_stack_panels([layer.from_context.weight for layer in residual if layer.from_context]),
        self_attention=_pack_attentions([block.self_attention for block in blocks], to_self=True),
        text_attention=_pack_attentions([block.text_attention for block in blocks], to_self=False),
        out_norm=as_array(out_norm.weight),
        out=as_array(_panels(to_logits.weight.T)),
        out_bias=as_array(padded(to_logits.bias)),
    )


def bytes_of_position(weights: Weights) -> int:
    """Of the weights that every position reads; those of the rows above are read once for a row."""
    convs = (weights.start, weights.conv_in, weights.conv_out)
    attentions = (weights.self_attention, weights.text_attention)
    matrices = [conv.own for conv in convs] + [m for layer in attentions for m in (layer.project, layer.out)]
    return sum(matrix.nbytes for matrix in (*matrices, weights.out))


def _pack_convs(convs: list[CausalConv2d]) -> Convs:
    upper, own, bias = [], [], []
    for conv in convs:
        reach, taps = conv.reach, conv.reach + (0 if conv.strict else 1)
        weight = conv.weight().permute(2, 3, 1, 0)  # (reach + 1, 2 reach + 1, I, O)
        upper.append(torch.stack([_panels(row.flatten(0, 1)) for row in weight[:reach]]))
        own.append(_panels(weight[reach, :taps].flatten(0, 1)))
        bias.append(padded(conv.conv.bias))  # type: ignore[arg-type]
    return Convs(stack(upper), stack(own), stack(bias))


def _pack_attentions(of_blocks: list[Attention | None], *, to_self: bool) -> Attentions:
    """Args: to_self: whether keys and values too are projected position by position."""
    layers = [layer for layer in of_blocks if layer is not None]
    project = [
        torch.cat([layer.to_query.weight, layer.to_key_value.weight]) if to_self else layer.to_query.weight
        for layer in layers
    ]
    return Attentions(
        stack([layer.norm.weight for layer in layers]),
        _stack_panels(project),
        _stack_panels([layer.to_out.weight for layer in layers]),
        stack([padded(layer.to_out.bias) for layer in layers]),
    )


def _panels(weight: Tensor) -> Tensor:
    """(I,O) -> (panels, I, PANEL)."""
    return padded(weight).unflatten(1, (-1, PANEL)).transpose(0, 1)


def padded(weight: Tensor) -> Tensor:
    """(...,O) -> (..., panels PANEL), zeros behind."""
    return F.pad(weight, (0, -weight.shape[-1] % PANEL))


def _stack_panels(weights: list[Tensor]) -> np.ndarray:
    """Weights (O,I) of linear layers -> (L, panels, I, PANEL)."""
    return stack([_panels(weight.T) for weight in weights]) if weights else zeros(0, 1, 1, PANEL)


def stack(tensors: list[Tensor]) -> np.ndarray:
    """Of L layers, (L,...); (0,1) of none."""
    return as_array(torch.stack(tensors)) if tensors else zeros(0, 1)


def as_array(tensor: Tensor) -> np.ndarray:
    """As numpy's, C-contiguous, float32, aligned."""
    array = zeros(*tensor.shape)
    array[...] = tensor.detach().numpy()
    return array


def zeros(*shape: int) -> np.ndarray:
    """Float32 zeros that begin where a cache line begins: a register filled across two lines takes twice as long."""
    count = math.prod(shape)
    room = np.zeros(count + CACHE_LINE, np.float32)
    start = -room.ctypes.data // room.itemsize % CACHE_LINE
    return room[start : start + count].reshape(shape)
