"""PixelSNAIL (Chen et al., arXiv:1712.09763) over a grid of codes, given text and, for the bottom level, the top codes.

    codes (B,H,W) -> embedding -> strictly causal convolution -> blocks -> logits (B,K,H,W)
    a block: gated residual blocks of causal convolutions, causal self-attention, cross-attention to the text

Text is BLIP's token features or the VQ-VAE's text codes; or it is BLIP's pooled embedding, which takes part in the
gates of the residual blocks as in conditional PixelCNN (van den Oord et al., arXiv:1606.05328) in place of the
cross-attention.

Causal means raster order: the logits at a position depend on the codes of earlier positions alone. Only the first
convolution looks strictly back; what follows may see its own position, because that holds no later code. The published
network has two kinds of convolution, down (over the rows above) and down-right (over what is left in the row as well);
one masked kernel that is k wide above and ends at its own position in its row computes the sum of both.
Activations are (B,H,W,C) throughout: norms and attention work on the last axis, and convolutions read it as
channels-last without a copy. Where a network is trained on a processor, compiled code computes the residual blocks.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.config.prior import TextForm
from stages.prior.captions import Captions
from stages.prior.kernels import activation, convolution
from stages.prior.kernels.elementwise import EPSILON


@dataclass(frozen=True, kw_only=True)
class PixelSNAILSizes:
    """What the weights' shapes depend on; saved beside them.

    Raises:
        ValueError: there is no such form of text.
    """

    side: int
    codebook_size: int
    text_width: int
    """Last axis of the captions' form that is read: 4E of tokens, P of the pooled embedding, n of codes."""
    channels: int
    kernel: int
    blocks: int
    residual_blocks: int
    residual_channels: int
    self_attention: bool
    context_side: int
    """Side of the conditioning level's grid; 0 for none."""
    context_blocks: int
    text_layers: int
    heads: int
    dropout: float
    weight_norm: bool
    """Whether the causal convolutions' weights are learnt as directions and gains."""
    text: str
    """The captions' form that is read: "tokens", "pooled" or "codes"."""

    def __post_init__(self) -> None:
        if self.text not in get_args(TextForm):
            raise ValueError(f"text must be one of {', '.join(get_args(TextForm))}, got {self.text!r}")


class Conditioning(NamedTuple):
    """Everything that does not depend on the codes being modelled; computed once for a sample."""

    text: Tensor | None
    """(B,1+L,C) a learned token, then the adapted tokens or codes of the text; None where it is pooled."""
    text_mask: Tensor | None
    """(B,1+L) bool; the learned token is always visible, so no row of attention is ever empty."""
    context: Tensor | None
    """(B,H,W,C) features of the level above; None on the top level."""
    gate: Tensor | None
    """(B,C) of the pooled text, for the gates of the residual blocks; None where it is not pooled."""

    @property
    def batch_size(self) -> int:
        """Number of rows B."""
        return len(next(form for form in (self.text, self.gate) if form is not None))

    def of_pictures(self, chosen: Tensor, pictures: int) -> "Conditioning":
        """Of some rows (n,) int64 of so many pictures; with guidance, behind them the same without caption."""
        starts = torch.arange(0, self.batch_size, pictures, device=chosen.device)
        rows = (starts[:, None] + chosen).flatten()
        return Conditioning(*(None if form is None else form[rows] for form in self))

    def to(self, dtype: torch.dtype) -> "Conditioning":
        """The same; what are numbers, of this type."""
        return Conditioning(*(form if form is None or form.dtype == torch.bool else form.to(dtype) for form in self))


class CausalConv2d(nn.Module):
    """Convolution over rows above and, on its own row, what lies left: (B,H,W,I) -> (B,H,W,O).

    Args:
        kernel: odd side k; the window is k//2 rows above and the row itself, k columns wide.
        strict: whether the position itself is left out as well.
        weight_norm: whether each output's weights are learnt as a direction and a gain (Salimans and Kingma,
            arXiv:1602.07868), as the published network's are.
    """

    mask: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, strict: bool = False, weight_norm: bool = False
    ) -> None:
        super().__init__()
        self.reach = kernel // 2
        self.strict = strict
        self.conv = nn.Conv2d(in_channels, out_channels, (self.reach + 1, kernel), bias=True)
        mask = torch.ones(1, 1, self.reach + 1, kernel)
        mask[..., -1, self.reach + (0 if strict else 1) :] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.gain = nn.Parameter(_norm(self.conv.weight.detach() * mask)) if weight_norm else None

    def weight(self) -> Tensor:
        """(O,I,k//2+1,k), zero at what is not in the past."""
        weight = self.conv.weight * self.mask  # torch's own weight_norm would count what is masked
        return weight if self.gain is None else weight * (self.gain / _norm(weight))[:, None, None, None]

    def forward(self, x: Tensor) -> Tensor:
        if convolution.is_for(x, self.conv.weight):
            return self.of_windows(convolution.windows_of(x, self.reach), x.shape[2])
        padded = F.pad(x.movedim(-1, 1), (0, 0, self.reach, 0))  # (B,I,H+r,W); the operator skips what it pads itself
        return F.conv2d(padded, self.weight(), self.conv.bias, padding=(0, self.reach)).movedim(1, -1)

    def of_windows(self, windows: Tensor, columns: int) -> Tensor:
        """The same, of what `convolution.windows_of` makes of x, and of how many columns that has."""
        assert self.conv.bias is not None  # made with one
        own_taps = self.reach + (0 if self.strict else 1)
        return convolution.convolve(windows, columns, self.weight(), self.conv.bias, own_taps)


def _norm(weight: Tensor) -> Tensor:
    """Of each output's weights: (O,I,k//2+1,k) -> (O,)."""
    return torch.linalg.vector_norm(weight, dim=(1, 2, 3))


class GatedResidualBlock(nn.Module):
    """x + glu(conv(elu(conv(elu(norm(x))))) + context + text): (B,H,W,C) -> (B,H,W,C), causal.

    The pooled text enters both halves of the gated unit at every position alike: Eq. 4 of arXiv:1606.05328.
    """

    def __init__(self, sizes: PixelSNAILSizes) -> None:
        super().__init__()
        c, inner = sizes.channels, sizes.residual_channels
        self.norm = nn.RMSNorm(c, eps=EPSILON)
        self.conv_in = CausalConv2d(c, inner, sizes.kernel, weight_norm=sizes.weight_norm)
        self.dropout = nn.Dropout(sizes.dropout)
        self.conv_out = CausalConv2d(inner, 2 * c, sizes.kernel, weight_norm=sizes.weight_norm)
        self.from_context = nn.Linear(c, 2 * c, bias=False) if sizes.context_side else None
        self.from_text = nn.Linear(c, 2 * c, bias=False) if sizes.text == "pooled" else None

    def forward(self, x: Tensor, context: Tensor | None, gate: Tensor | None) -> Tensor:
        compiled = all(convolution.is_for(x, conv.conv.weight) for conv in (self.conv_in, self.conv_out))
        hidden = self._compiled_hidden(x) if compiled else self._hidden(x)  # (B,H,W,2C)
        if self.from_context is not None:
            hidden = hidden + self.from_context(context)
        if self.from_text is not None:
            hidden = hidden + self.from_text(gate)[:, None, None]
        return activation.add_gated(x, hidden) if compiled else x + F.glu(hidden, dim=-1)

    def _hidden(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.conv_in(F.elu(self.norm(x)))
        hidden = self.conv_out(self.dropout(F.elu(hidden)))
        return hidden

    def _compiled_hidden(self, x: Tensor) -> Tensor:
        columns = x.shape[2]
        hidden = self.conv_in.of_windows(activation.normed_elu(x, self.norm.weight, self.conv_in.reach), columns)
        return self.conv_out.of_windows(self.dropout(activation.elu(hidden, self.conv_out.reach)), columns)


class Attention(nn.Module):
    """Multi-head attention of x (B,N,C) over `source` (B,M,C), added to x."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.RMSNorm(channels, eps=EPSILON)
        self.to_query = nn.Linear(channels, channels, bias=False)
        self.to_key_value = nn.Linear(channels, 2 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def query(self, normed: Tensor) -> Tensor:
        """(B,N,C) -> (B,heads,N,C/heads)."""
        return self.to_query(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def key_value(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """(B,M,C) -> key and value, each (B,heads,M,C/heads)."""
        key, value = self.to_key_value(source).unflatten(-1, (2, self.heads, -1)).unbind(-3)  # (B,M,heads,C/heads)
        return key.transpose(1, 2), value.transpose(1, 2)

    def causal(self, x: Tensor) -> Tensor:
        """Self-attention of each position over itself and earlier ones, (B,N,C) in raster order."""
        normed = self.norm(x)
        return x + self.to_out(_attend(self.query(normed), *self.key_value(normed), is_causal=True))

    def cross(self, x: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Attention of (B,N,C) over (B,M,C), of which mask (B,M) bool tells what may be seen."""
        query = self.query(self.norm(x))
        return x + self.to_out(_attend(query, *self.key_value(source), attn_mask=mask[:, None, None, :]))


def _attend(query: Tensor, key: Tensor, value: Tensor, **masked: Any) -> Tensor:
    """(B,heads,N,d) over (B,heads,M,d) -> (B,N,heads d); on a processor, which takes longer in bfloat16, in float32."""
    on_processor = query.device.type == "cpu"
    if on_processor and query.dtype == torch.bfloat16:
        query, key, value = query.float(), key.float(), value.float()
    with torch.autocast(query.device.type, enabled=torch.is_autocast_enabled(query.device.type) and not on_processor):
        attended = F.scaled_dot_product_attention(query, key, value, **masked)
    return attended.transpose(1, 2).flatten(2)


class Block(nn.Module):
    """Residual blocks, then attention over the past and, unless it is pooled, over the text."""

    self_attention: Attention | None
    text_attention: Attention | None

    def __init__(self, sizes: PixelSNAILSizes) -> None:
        super().__init__()
        self.residual_blocks = nn.ModuleList(GatedResidualBlock(sizes) for _ in range(sizes.residual_blocks))
        self.self_attention = Attention(sizes.channels, sizes.heads) if sizes.self_attention else None
        self.text_attention = None if sizes.text == "pooled" else Attention(sizes.channels, sizes.heads)

    def forward(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        for residual_block in self.residual_blocks:
            x = residual_block(x, conditioning.context, conditioning.gate)
        rows, columns = x.shape[1:3]
        flat = x.flatten(1, 2)  # (B,HW,C)
        if self.self_attention is not None:
            flat = self.self_attention.causal(flat)
        if self.text_attention is not None:
            assert conditioning.text is not None and conditioning.text_mask is not None  # made by `condition`
            flat = self.text_attention.cross(flat, conditioning.text, conditioning.text_mask)
        return flat.unflatten(1, (rows, columns))


class ContextNetwork(nn.Module):
    """The level above, seen whole: codes (B,h,w) -> features (B,H,W,C) on this level's grid."""

    def __init__(self, sizes: PixelSNAILSizes) -> None:
        super().__init__()
        c = sizes.channels
        self.scale = sizes.side // sizes.context_side
        self.embedding = nn.Embedding(sizes.codebook_size, c)
        self.convs = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for _ in range(sizes.context_blocks))
        self.spread = nn.Linear(c, self.scale**2 * c)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.embedding(codes).movedim(-1, 1)  # (B,C,h,w)
        for conv in self.convs:
            x = x + conv(F.elu(x))
        return F.pixel_shuffle(self.spread(F.elu(x.movedim(1, -1))).movedim(-1, 1), self.scale).movedim(1, -1)


class TokenReader(nn.Module):
    """BLIP's token features (B,L,4E) -> (B,L,C), and where there are tokens (B,L) bool."""

    def __init__(self, sizes: PixelSNAILSizes) -> None:
        super().__init__()
        self.project = _projection(sizes)

    def forward(self, captions: Captions) -> tuple[Tensor, Tensor]:
        return self.project(captions.tokens), captions.mask


class CodeReader(nn.Module):
    """Text codes (B,n) -> (B,n,C), each with its place in the caption, and where there is a caption (B,n) bool."""

    def __init__(self, sizes: PixelSNAILSizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.codebook_size, sizes.channels)
        self.places = nn.Parameter(0.02 * torch.randn(sizes.text_width, sizes.channels))

    def forward(self, captions: Captions) -> tuple[Tensor, Tensor]:
        codes = captions.codes
        return self.embedding(codes) + self.places, captions.present[:, None].expand_as(codes)


class TextAdapter(nn.Module):
    """A caption's tokens or codes -> text (B,1+L,C) behind one learned token, and which of it is there (B,1+L) bool."""

    def __init__(self, sizes: PixelSNAILSizes) -> None:
        super().__init__()
        c = sizes.channels
        self.reader = CodeReader(sizes) if sizes.text == "codes" else TokenReader(sizes)
        self.first = nn.Parameter(0.02 * torch.randn(c))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(c, sizes.heads, 2 * c, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(sizes.text_layers)
        )
        self.norm = nn.LayerNorm(c)

    def forward(self, captions: Captions) -> tuple[Tensor, Tensor]:
        read, mask = self.reader(captions)
        text = torch.cat([self.first.expand(len(read), 1, -1), read], dim=1)
        mask = F.pad(mask, (1, 0), value=True)
        for layer in self.layers:
            text = layer(text, src_key_padding_mask=~mask)
        return self.norm(text), mask


class TextGate(nn.Module):
    """BLIP's pooled text embedding (B,P) -> (B,C); one learned vector wherever there is no caption."""

    def __init__(self, sizes: PixelSNAILSizes) -> None:
        super().__init__()
        self.project = _projection(sizes)
        self.no_caption = nn.Parameter(0.02 * torch.randn(sizes.channels))

    def forward(self, captions: Captions) -> Tensor:
        return torch.where(captions.present[:, None], self.project(captions.pooled), self.no_caption)


def _projection(sizes: PixelSNAILSizes) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(sizes.text_width), nn.Linear(sizes.text_width, sizes.channels))


class PixelSNAIL(nn.Module):
    """Autoregressive network over one level's codes.

    Args:
        sizes: everything that the shapes depend on.
    """

    def __init__(self, sizes: PixelSNAILSizes) -> None:
        super().__init__()
        self.sizes = sizes
        c = sizes.channels
        self.embedding = nn.Embedding(sizes.codebook_size, c)
        self.start = CausalConv2d(c, c, sizes.kernel + 2, strict=True, weight_norm=sizes.weight_norm)
        self.row = nn.Parameter(0.02 * torch.randn(sizes.side, 1, c))
        self.column = nn.Parameter(0.02 * torch.randn(1, sizes.side, c))
        self.context = ContextNetwork(sizes) if sizes.context_side else None
        self.text = None if sizes.text == "pooled" else TextAdapter(sizes)
        self.gate = TextGate(sizes) if sizes.text == "pooled" else None
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.blocks))
        to_logits = nn.Linear(c, sizes.codebook_size)
        nn.init.zeros_(to_logits.weight)
        nn.init.zeros_(to_logits.bias)
        self.out = nn.Sequential(nn.RMSNorm(c, eps=EPSILON), to_logits)

    def condition(self, captions: Captions, context_codes: Tensor | None = None) -> Conditioning:
        """What all positions share.

        Args:
            captions: B of them.
            context_codes: (B,h,w) int64 codes of the level above; None on the top level.
        """
        text, text_mask = (None, None) if self.text is None else self.text(captions)
        context = None if self.context is None else self.context(context_codes)
        return Conditioning(text, text_mask, context, None if self.gate is None else self.gate(captions))

    def forward(self, codes: Tensor, conditioning: Conditioning) -> Tensor:
        """codes (B,H,W) int64, of all rows or the first few -> logits (B,K,H,W), each from earlier codes alone."""
        x = self.start(self.embedding(codes)) + self.row[: codes.shape[1]] + self.column
        if conditioning.context is not None:
            x = x + conditioning.context
        for block in self.blocks:
            x = block(x, conditioning)
        logits: Tensor = self.out(x).movedim(-1, 1)
        return logits
