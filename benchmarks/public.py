"""PixelSNAIL as public code has it: the same weights and the same logits, more work.

Channels come first. Every causal convolution has a weight norm, and its weights outside the window are set to zero
before each use; it pads its input with zeros. Attention multiplies all positions with all, and hides what lies ahead by
a boolean mask before the softmax. (vq-vae-2-pytorch's pixelsnail.py, github.com/rosinality/vq-vae-2-pytorch.)
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from stages.prior.pixelsnail import Attention, Block, CausalConv2d, GatedResidualBlock, PixelSNAIL


def in_public_style(network: PixelSNAIL) -> PixelSNAIL:
    """A copy of the same weights whose convolutions, residual blocks and attentions are those of the public code."""
    network = copy.deepcopy(network)
    device = network.embedding.weight.device
    network.start = PublicConv(network.start)  # type: ignore[assignment]
    for block in network.blocks:
        assert isinstance(block, Block)
        block.residual_blocks = nn.ModuleList([PublicResidualBlocks(block.residual_blocks)])
        if block.self_attention is not None:
            block.self_attention = PublicAttention(block.self_attention)
        if block.text_attention is not None:
            block.text_attention = PublicAttention(block.text_attention)
    return network.to(device)


class PublicConv(nn.Module):
    """A causal convolution with a weight norm, masked by setting weights to zero."""

    def __init__(self, conv: CausalConv2d) -> None:
        super().__init__()
        self.reach, self.behind = conv.reach, conv.reach + (0 if conv.strict else 1)
        inner = nn.Conv2d(conv.conv.in_channels, conv.conv.out_channels, conv.conv.kernel_size)  # type: ignore[arg-type]
        inner.load_state_dict({"weight": conv.weight(), "bias": conv.conv.bias})
        self.conv = weight_norm(inner)
        self.conv.parametrizations.weight.original1.register_post_accumulate_grad_hook(self._forget_what_lies_ahead)

    def forward(self, x: Tensor) -> Tensor:
        """(B,H,W,I) -> (B,H,W,O)."""
        return self.channels_first(x.movedim(-1, 1).contiguous()).movedim(1, -1)

    def channels_first(self, x: Tensor) -> Tensor:
        """(B,I,H,W) -> (B,O,H,W)."""
        self.conv.parametrizations.weight.original1.data[:, :, -1, self.behind :].zero_()
        out: Tensor = self.conv(F.pad(x, (self.reach, self.reach, self.reach, 0)))
        return out

    def _forget_what_lies_ahead(self, weight: Tensor) -> None:
        """Its gradient would count where gradients are clipped, which public code does not do."""
        assert weight.grad is not None  # just accumulated
        weight.grad[:, :, -1, self.behind :].zero_()


class PublicResidualBlock(nn.Module):
    """A gated residual block with channels first: (B,C,H,W) -> (B,C,H,W)."""

    def __init__(self, block: GatedResidualBlock) -> None:
        super().__init__()
        self.norm, self.dropout = block.norm, block.dropout
        self.conv_in, self.conv_out = PublicConv(block.conv_in), PublicConv(block.conv_out)
        self.from_context, self.from_text = block.from_context, block.from_text

    def forward(self, x: Tensor, context: Tensor | None, gate: Tensor | None) -> Tensor:
        """x (B,C,H,W), context (B,H,W,C), gate (B,C) -> (B,C,H,W)."""
        scale = torch.rsqrt(x.square().mean(dim=1, keepdim=True) + torch.finfo(x.dtype).eps)
        hidden = self.conv_in.channels_first(F.elu(x * scale * self.norm.weight[:, None, None]))
        hidden = self.conv_out.channels_first(self.dropout(F.elu(hidden)))  # (B,2C,H,W)
        if self.from_context is not None:
            hidden = hidden + self.from_context(context).movedim(-1, 1)
        if self.from_text is not None:
            hidden = hidden + self.from_text(gate)[:, :, None, None]
        return x + F.glu(hidden, dim=1)


class PublicResidualBlocks(nn.Module):
    """All residual blocks of a block, with channels first from the first to the last."""

    def __init__(self, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PublicResidualBlock(block) for block in blocks)  # type: ignore[arg-type]

    def forward(self, x: Tensor, context: Tensor | None, gate: Tensor | None) -> Tensor:
        """(B,H,W,C) -> (B,H,W,C)."""
        x = x.movedim(-1, 1).contiguous()
        for block in self.blocks:
            x = block(x, context, gate)
        return x.movedim(1, -1)


class PublicAttention(Attention):
    """Attention by a boolean mask and a softmax."""

    def __init__(self, attention: Attention) -> None:
        nn.Module.__init__(self)
        self.heads = attention.heads
        for name, child in attention.named_children():
            setattr(self, name, child)

    def causal(self, x: Tensor) -> Tensor:
        """(B,N,C) -> (B,N,C)."""
        normed, n = self.norm(x), x.shape[1]
        return self._attend(x, normed, normed, torch.tril(torch.ones(n, n, dtype=torch.bool, device=x.device)))

    def cross(self, x: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """(B,N,C) over (B,M,C), mask (B,M) bool -> (B,N,C)."""
        return self._attend(x, self.norm(x), source, mask[:, None, None, :])

    def _attend(self, x: Tensor, normed: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        query, (key, value) = self.query(normed), self.key_value(source)
        scores = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).masked_fill(~mask, -1e4)
        out: Tensor = self.to_out((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))
        return x + out
