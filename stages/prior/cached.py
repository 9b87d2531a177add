"""The forward pass of PixelSNAIL with each position computed once, for any device.

Each layer keeps what later positions will read: a convolution its input rows, an attention its keys and values. The
part of a causal kernel that lies in the rows above is computed for a whole row at once, when that row begins; a
position then costs only the taps on its own row.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.prior.pixelsnail import Attention, Block, CausalConv2d, Conditioning, GatedResidualBlock, PixelSNAIL


class CachedForward:
    """Logits of one position after another, in raster order, each layer evaluated once at each position."""

    def __init__(self, network: PixelSNAIL, conditioning: Conditioning) -> None:
        self.network, self.conditioning = network, conditioning
        batch, side = conditioning.batch_size, network.sizes.side
        self.start = _CachedConv(network.start, batch, side)
        self.places = network.row + network.column  # (H,W,C)
        self.blocks = [_CachedBlock(block, conditioning, side) for block in network.blocks]  # type: ignore[arg-type]
        self.last: tuple[int, int] | None = None

    def logits(self, codes: Tensor, row: int, column: int) -> Tensor:
        """(B,K) or, with guidance, (2B,K); codes hold what has been drawn so far."""
        if self.last is not None:
            embedded = self.network.embedding(codes[:, self.last[0], self.last[1]])  # (B,C)
            self.start.write(embedded.repeat(self.conditioning.batch_size // len(codes), 1), *self.last)
        self.last = (row, column)
        if column == 0:
            self._begin_row(row)
        x = self.start.read(row, column) + self.places[row, column]
        if self.conditioning.context is not None:
            x = x + self.conditioning.context[:, row, column]
        for block in self.blocks:
            x = block.step(x, row, column)
        out: Tensor = self.network.out(x)
        return out

    def _begin_row(self, row: int) -> None:
        self.start.begin_row(row)
        for block in self.blocks:
            block.begin_row(row)


class _CachedBlock:
    def __init__(self, block: Block, conditioning: Conditioning, side: int) -> None:
        self.residual_blocks = [_CachedResidual(r, conditioning, side) for r in block.residual_blocks]  # type: ignore[arg-type]
        batch = conditioning.batch_size
        self.self_attention = (
            None if block.self_attention is None else _CachedSelfAttention(block.self_attention, batch, side)
        )
        self.text_attention = block.text_attention
        if block.text_attention is not None:
            assert conditioning.text is not None and conditioning.text_mask is not None  # made by `condition`
            self.text_key, self.text_value = (t.contiguous() for t in block.text_attention.key_value(conditioning.text))
            self.text_mask = conditioning.text_mask[:, None, None, :]

    def begin_row(self, row: int) -> None:
        for residual_block in self.residual_blocks:
            residual_block.begin_row(row)

    def step(self, x: Tensor, row: int, column: int) -> Tensor:
        for residual_block in self.residual_blocks:
            x = residual_block.step(x, row, column)
        if self.self_attention is not None:
            x = self.self_attention.step(x)
        attention = self.text_attention
        if attention is None:
            return x
        query = attention.query(attention.norm(x)[:, None])
        attended = F.scaled_dot_product_attention(query, self.text_key, self.text_value, attn_mask=self.text_mask)
        return x + attention.to_out(attended.flatten(1))


class _CachedResidual:
    def __init__(self, block: GatedResidualBlock, conditioning: Conditioning, side: int) -> None:
        batch = conditioning.batch_size
        self.block = block
        self.conv_in = _CachedConv(block.conv_in, batch, side)
        self.conv_out = _CachedConv(block.conv_out, batch, side)
        self.context = None if block.from_context is None else block.from_context(conditioning.context)  # (B,H,W,2C)
        self.text = None if block.from_text is None else block.from_text(conditioning.gate)  # (B,2C)

    def begin_row(self, row: int) -> None:
        self.conv_in.begin_row(row)
        self.conv_out.begin_row(row)

    def step(self, x: Tensor, row: int, column: int) -> Tensor:
        self.conv_in.write(F.elu(self.block.norm(x)), row, column)
        self.conv_out.write(F.elu(self.conv_in.read(row, column)), row, column)
        hidden = self.conv_out.read(row, column)
        if self.context is not None:
            hidden = hidden + self.context[:, row, column]
        if self.text is not None:
            hidden = hidden + self.text
        return x + F.glu(hidden, dim=-1)


class _CachedConv:
    """One causal convolution: the input rows it still needs, and the upper rows' share of the row at hand."""

    def __init__(self, conv: CausalConv2d, batch: int, side: int) -> None:
        reach = conv.reach
        self.reach, self.side, self.taps = reach, side, reach + (0 if conv.strict else 1)
        weight = conv.weight()  # (O,I,r+1,2r+1)
        self.upper_weight = weight[:, :, :reach].contiguous(memory_format=torch.channels_last)
        own_row = weight[:, :, reach, : self.taps]  # (O,I,taps)
        self.own_weight = own_row.permute(2, 1, 0).reshape(-1, weight.shape[0]).contiguous()  # (taps*I,O)
        self.bias = conv.conv.bias
        self.rows = weight.new_zeros(
            batch, side + reach, side + 2 * reach, weight.shape[1]
        )  # (B,H+r,W+2r,I), zero border
        self.upper = weight.new_zeros(side, batch, weight.shape[0])  # (W,B,O)

    def begin_row(self, row: int) -> None:
        """The share of the rows above, for every column of this row."""
        above = self.rows[:, row : row + self.reach].movedim(-1, 1)  # (B,I,r,W+2r)
        share = F.conv2d(above, self.upper_weight, self.bias)  # (B,O,1,W)
        self.upper.copy_(share[:, :, 0].permute(2, 0, 1))

    def write(self, x: Tensor, row: int, column: int) -> None:
        """The input (B,I) at a position."""
        self.rows[:, row + self.reach, column + self.reach] = x

    def read(self, row: int, column: int) -> Tensor:
        """The output (B,O) at a position, once its inputs are written."""
        window = self.rows[:, row + self.reach, column : column + self.taps].flatten(1)  # (B,taps*I)
        return torch.addmm(self.upper[column], window, self.own_weight)


class _CachedSelfAttention:
    def __init__(self, attention: Attention, batch: int, side: int) -> None:
        self.attention = attention
        shape = (batch, attention.heads, side * side, attention.to_out.in_features // attention.heads)
        self.keys, self.values = (attention.to_out.weight.new_zeros(shape) for _ in range(2))
        self.length = 0

    def step(self, x: Tensor) -> Tensor:
        attention = self.attention
        normed = attention.norm(x)[:, None]  # (B,1,C)
        key, value = attention.key_value(normed)
        self.keys[:, :, self.length], self.values[:, :, self.length] = key[:, :, 0], value[:, :, 0]
        self.length += 1
        attended = F.scaled_dot_product_attention(
            attention.query(normed), self.keys[:, :, : self.length], self.values[:, :, : self.length]
        )
        return x + attention.to_out(attended.flatten(1))
