"""Sampling from PixelSNAIL with each position computed once.

The public loop runs the whole network for every position. Here each layer keeps what later positions will read: a
convolution its input rows, an attention its keys and values. The part of a causal kernel that lies in the rows above
is computed for a whole row at once, when that row begins; a position then costs only the taps on its own row.
The codes are those of the full forward for the same noise: `sample_by_full_forward` is kept as the yardstick.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.samples import SamplingOptions
from stages.prior.pixelsnail import Attention, Block, CausalConv2d, Conditioning, GatedResidualBlock, PixelSNAIL

UNKNOWN = -1
"""In the place of a code that is to be drawn."""


def gumbel_noise(seeds: list[int], positions: int, codebook_size: int) -> Tensor:
    """Standard Gumbel noise (B,N,K); row i depends on seeds[i] alone, so a picture is the same in any batch."""
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(positions, codebook_size, generator=generator).clamp_(1e-20, 1 - 1e-7)
        rows.append(-torch.log(-torch.log(uniform)))
    return torch.stack(rows)


def draw(logits: Tensor, noise: Tensor, options: SamplingOptions) -> Tensor:
    """One code for each row by the Gumbel-max trick: logits (B,K), noise (B,K) -> int64 (B,)."""
    if options.temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / options.temperature
    if 0 < options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if options.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
        ordered = ordered.masked_fill(before >= options.top_p, -torch.inf)
        logits = torch.empty_like(logits).scatter_(-1, order, ordered)
    return (logits + noise).argmax(dim=-1)


def guide(logits: Tensor, scale: float) -> Tensor:
    """Guided log-probabilities (B,K) from captioned and uncaptioned rows stacked (2B,K); (B,K) as it is for scale 1."""
    if scale == 1:
        return logits
    captioned, uncaptioned = logits.log_softmax(dim=-1).chunk(2)
    return uncaptioned + scale * (captioned - uncaptioned)


@torch.inference_mode()
def sample(
    network: PixelSNAIL,
    conditioning: Conditioning,
    noise: Tensor,
    options: SamplingOptions,
    known: Tensor | None = None,
) -> Tensor:
    """Draws a grid of codes for each row of noise.

    Args:
        conditioning: of B rows, or with guidance of 2B: the captioned ones, then the same without caption.
        noise: (B,HW,K) from `gumbel_noise`.
        known: (B,H,W) int64, codes that are kept, `UNKNOWN` where one is drawn. A code is drawn from what lies before
            it in raster order: kept codes below and to the right cannot be looked at.

    Returns:
        (B,H,W) int64.
    """
    steps = _CachedForward(network, conditioning)
    return _raster(network, noise, options, lambda codes, row, column: steps.logits(codes, row, column), known)


@torch.inference_mode()
def sample_by_full_forward(
    network: PixelSNAIL,
    conditioning: Conditioning,
    noise: Tensor,
    options: SamplingOptions,
    known: Tensor | None = None,
) -> Tensor:
    """The same codes by the public loop's way, one forward of the whole grid for each position. Slow; for tests."""

    def logits(codes: Tensor, row: int, column: int) -> Tensor:
        doubled = codes.repeat(conditioning.batch_size // len(codes), 1, 1)
        return network(doubled, conditioning)[:, :, row, column]

    return _raster(network, noise, options, logits, known)


def _raster(
    network: PixelSNAIL,
    noise: Tensor,
    options: SamplingOptions,
    logits: Callable[[Tensor, int, int], Tensor],
    known: Tensor | None,
) -> Tensor:
    side = network.sizes.side
    codes = torch.zeros(len(noise), side, side, dtype=torch.int64)
    for row in range(side):
        for column in range(side):
            guided = guide(logits(codes, row, column), options.guidance_scale)
            drawn = draw(guided, noise[:, row * side + column], options)
            codes[:, row, column] = drawn if known is None else _keep(known[:, row, column], drawn)
    return codes


def _keep(known: Tensor, drawn: Tensor) -> Tensor:
    return torch.where(known == UNKNOWN, drawn, known)


class _CachedForward:
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
        self.rows = torch.zeros(batch, side + reach, side + 2 * reach, weight.shape[1])  # (B,H+r,W+2r,I), zero border
        self.upper = torch.zeros(side, batch, weight.shape[0])  # (W,B,O)

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
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
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
