"""The forward pass of PixelSNAIL with each position computed once, for any device.

Each layer keeps what later positions will read: a convolution its inputs, an attention its keys and values. The part of
a causal kernel that lies in the rows above is computed for a whole row at once, when that row begins; a position then
costs only the taps on its own row.

Which position it is stands in tensors, every shape is the same at every position, and to do a thing again at a position
changes nothing: so a GPU can keep a step as a CUDA graph (`captured`).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.prior.pixelsnail import Attention, Block, CausalConv2d, Conditioning, GatedResidualBlock, PixelSNAIL


class Place:
    """The position at hand, in tensors (1,) int64."""

    def __init__(self, side: int, device: torch.device) -> None:
        self.side = side
        self.row, self.column, self.flat = (torch.zeros(1, dtype=torch.int64, device=device) for _ in range(3))

    def move_to(self, row: int, column: int) -> None:
        """Makes this position the one at hand; the tensors stay the same ones."""
        self.row.fill_(row)
        self.column.fill_(column)
        self.flat.fill_(row * self.side + column)


class Window:
    """What a causal kernel reaches from the position at hand, in inputs (H+r,W+2r) that have a border of zeros.

    Convolutions with the same kernel share one: each look-up is a kernel of its own on a GPU.
    """

    def __init__(self, conv: CausalConv2d, place: Place) -> None:
        reach, side, device = conv.reach, place.side, place.flat.device
        self.place, self.reach, self.taps = place, reach, reach + (0 if conv.strict else 1)
        self.height, self.width = side + reach, side + 2 * reach
        grid = torch.arange(self.height * self.width, device=device).unflatten(0, (self.height, self.width))
        self.all_own = grid[reach:].unfold(1, self.taps, 1)[:, :side].flatten(0, 1)  # (HW,taps)
        self.all_here = grid[reach:, reach : reach + side].flatten()  # (HW,)
        self.all_above = torch.arange(self.height, device=device).unfold(0, reach, 1)[:side]  # (H,r)

    def begin_row(self) -> None:
        """Looks up which rows lie above the one at hand, (r,)."""
        self.above = self.all_above.index_select(0, self.place.row)[0]

    def step(self) -> None:
        """Looks up where the position at hand is, (1,), and what of its own row is reached, (taps,)."""
        self.here = self.all_here.index_select(0, self.place.flat)
        self.own = self.all_own.index_select(0, self.place.flat)[0]


class CachedForward:
    """Logits of the position at `place`, each layer evaluated once at each position, in raster order."""

    def __init__(self, network: PixelSNAIL, conditioning: Conditioning) -> None:
        self.network, self.rows = network, conditioning.batch_size
        self.place = Place(network.sizes.side, network.embedding.weight.device)
        blocks: list[Block] = list(network.blocks)  # type: ignore[arg-type]
        inner = blocks[0].residual_blocks[0].conv_in  # as all convolutions but the first
        self.windows = (Window(network.start, self.place), Window(inner, self.place))  # type: ignore[arg-type]
        self.start = _CachedConv(network.start, self.rows, self.windows[0])
        self.places = (network.row + network.column).flatten(0, 1)  # (HW,C)
        self.context = None if conditioning.context is None else conditioning.context.flatten(1, 2)  # (B,HW,C)
        self.blocks = [_CachedBlock(block, conditioning, self.windows[1]) for block in blocks]

    def begin_row(self) -> None:
        """What the row at hand needs of those above; before its first position."""
        for window in self.windows:
            window.begin_row()
        self.start.begin_row()
        for block in self.blocks:
            block.begin_row()

    def logits(self) -> Tensor:
        """(B,K) at the position at hand; with guidance, (2B,K)."""
        for window in self.windows:
            window.step()
        x = self.start.read() + self.places.index_select(0, self.place.flat)
        if self.context is not None:
            x = x + at(self.context, self.place.flat)
        for block in self.blocks:
            x = block.step(x)
        out: Tensor = self.network.out(x)
        return out

    def remember(self, codes: Tensor) -> None:
        """The codes (B,) of the position at hand, for those that follow."""
        self.start.write(self.network.embedding(codes).repeat(self.rows // len(codes), 1))


def captured(action: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """The action; on a GPU as a CUDA graph, which launches its many small kernels as one.

    Args:
        action: reads and writes tensors that stay where they are, and changes nothing when it is done again.
    """
    if device.type != "cuda":
        return action
    beside = torch.cuda.Stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):  # libraries choose their kernels before anything is kept
        for _ in range(3):
            action()
    torch.cuda.current_stream(device).wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        action()
    return graph.replay


def at(x: Tensor, flat: Tensor) -> Tensor:
    """x (B,HW,...) at a position: (B,...)."""
    return x.index_select(1, flat)[:, 0]


class _CachedBlock:
    def __init__(self, block: Block, conditioning: Conditioning, window: Window) -> None:
        self.residual_blocks = [
            _CachedResidual(residual, conditioning, window)  # type: ignore[arg-type]
            for residual in block.residual_blocks
        ]
        self.self_attention = (
            None
            if block.self_attention is None
            else _CachedSelfAttention(block.self_attention, conditioning.batch_size, window.place)
        )
        self.text_attention = block.text_attention
        if block.text_attention is not None:
            assert conditioning.text is not None and conditioning.text_mask is not None  # made by `condition`
            self.text_key, self.text_value = (t.contiguous() for t in block.text_attention.key_value(conditioning.text))
            self.text_mask = conditioning.text_mask[:, None, None, :]

    def begin_row(self) -> None:
        for residual_block in self.residual_blocks:
            residual_block.begin_row()

    def step(self, x: Tensor) -> Tensor:
        for residual_block in self.residual_blocks:
            x = residual_block.step(x)
        if self.self_attention is not None:
            x = self.self_attention.step(x)
        attention = self.text_attention
        if attention is None:
            return x
        query = attention.query(attention.norm(x)[:, None])
        attended = F.scaled_dot_product_attention(query, self.text_key, self.text_value, attn_mask=self.text_mask)
        return x + attention.to_out(attended.flatten(1))


class _CachedResidual:
    def __init__(self, block: GatedResidualBlock, conditioning: Conditioning, window: Window) -> None:
        batch = conditioning.batch_size
        self.block, self.place = block, window.place
        self.conv_in = _CachedConv(block.conv_in, batch, window)
        self.conv_out = _CachedConv(block.conv_out, batch, window)
        self.context = (
            None if block.from_context is None else block.from_context(conditioning.context).flatten(1, 2)
        )  # (B,HW,2C)
        self.text = None if block.from_text is None else block.from_text(conditioning.gate)  # (B,2C)

    def begin_row(self) -> None:
        self.conv_in.begin_row()
        self.conv_out.begin_row()

    def step(self, x: Tensor) -> Tensor:
        self.conv_in.write(F.elu(self.block.norm(x)))
        self.conv_out.write(F.elu(self.conv_in.read()))
        hidden = self.conv_out.read()
        if self.context is not None:
            hidden = hidden + at(self.context, self.place.flat)
        if self.text is not None:
            hidden = hidden + self.text
        return x + F.glu(hidden, dim=-1)


class _CachedConv:
    """One causal convolution: its inputs so far, and the upper rows' share of the row at hand."""

    def __init__(self, conv: CausalConv2d, batch: int, window: Window) -> None:
        self.window, reach = window, conv.reach
        weight = conv.weight()  # (O,I,r+1,2r+1)
        self.upper_weight = weight[:, :, :reach].contiguous(memory_format=torch.channels_last)
        own_row = weight[:, :, reach, : window.taps]  # (O,I,taps)
        self.own_weight = own_row.permute(2, 1, 0).reshape(-1, weight.shape[0]).contiguous()  # (taps*I,O)
        self.bias = conv.conv.bias
        self.inputs = weight.new_zeros(batch, window.height, window.width, weight.shape[1])  # (B,H+r,W+2r,I)
        self.flat = self.inputs.flatten(1, 2)  # the same memory
        self.upper = weight.new_zeros(window.place.side, batch, weight.shape[0])  # (W,B,O)

    def begin_row(self) -> None:
        """The share of the rows above, for every column of the row at hand."""
        above = self.inputs.index_select(1, self.window.above).movedim(-1, 1)  # (B,I,r,W+2r)
        share = F.conv2d(above, self.upper_weight, self.bias)  # (B,O,1,W)
        self.upper.copy_(share[:, :, 0].permute(2, 0, 1))

    def write(self, x: Tensor) -> None:
        """The input (B,I) at the position at hand."""
        self.flat.index_copy_(1, self.window.here, x[:, None])

    def read(self) -> Tensor:
        """The output (B,O) there, once its inputs are written."""
        reached = self.flat.index_select(1, self.window.own).flatten(1)  # (B,taps*I)
        upper = self.upper.index_select(0, self.window.place.column)[0]
        return torch.addmm(upper, reached, self.own_weight)


class _CachedSelfAttention:
    def __init__(self, attention: Attention, batch: int, place: Place) -> None:
        self.attention, self.place = attention, place
        positions = place.side**2
        shape = (batch, attention.heads, positions, attention.to_out.in_features // attention.heads)
        self.keys, self.values = (attention.to_out.weight.new_zeros(shape) for _ in range(2))
        self.positions = torch.arange(positions, device=place.flat.device)

    def step(self, x: Tensor) -> Tensor:
        attention, flat = self.attention, self.place.flat
        normed = attention.norm(x)[:, None]  # (B,1,C)
        for kept, new in zip((self.keys, self.values), attention.key_value(normed), strict=True):
            kept.index_copy_(2, flat, new)
        reached = (self.positions <= flat)[None, None, None]  # (1,1,1,HW)
        attended = F.scaled_dot_product_attention(attention.query(normed), self.keys, self.values, attn_mask=reached)
        return x + attention.to_out(attended.flatten(1))
