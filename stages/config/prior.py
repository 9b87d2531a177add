"""Section `prior`: the two PixelSNAIL networks over the codes."""

import math
from dataclasses import dataclass, field
from typing import Literal

from stages.config.precision import Precision

TextForm = Literal["tokens", "pooled", "codes"]


@dataclass(frozen=True)
class LevelConfig:
    """Sizes and budget of one level's network (published sizes, arXiv:1712.09763, in `configs/paper.yaml`)."""

    channels: int = 128
    """Width C of the network (published: 256)."""
    kernel: int = 3
    """Side of the causal kernels, odd (published: 5)."""
    blocks: int = 3
    """Blocks, each a stack of residual blocks followed by attention (published: 4)."""
    residual_blocks: int = 2
    """Gated residual blocks in a block (published: 4)."""
    residual_channels: int = 64
    """Inner width of a residual block (published: 256)."""
    self_attention: bool = True
    """Causal self-attention at each block's end (published: on the top level only)."""
    context_blocks: int = 0
    """Residual blocks of the network over the level above (published: 3); the top level has none above it."""
    text_layers: int = 1
    """Transformer layers that adapt a caption's tokens or codes before cross-attention; `pooled` has none."""
    heads: int = 4
    """Attention heads."""
    dropout: float = 0.05
    """Dropout inside residual blocks (published: 0.1)."""
    weight_norm: bool = False
    """Whether the causal convolutions learn weights as directions and gains, arXiv:1602.07868 (published: true)."""
    batch_size: int = 32
    """Pictures a step (published: 8)."""
    max_steps: int = 800
    """Optimiser steps."""
    lr: float = 2e-3
    """Peak learning rate of AdamW, after a rise over 50 steps or a tenth of all; from there it falls to 0 by a cosine
    up to `max_steps` (published: 3e-4 with Adam)."""

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise ValueError(f"prior.*.kernel must be odd and at least 3, got {self.kernel}")
        for name in ("channels", "blocks", "residual_blocks", "residual_channels", "heads", "batch_size", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"prior.*.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("context_blocks", "text_layers"):
            if getattr(self, name) < 0:
                raise ValueError(f"prior.*.{name} must not be negative, got {getattr(self, name)}")
        if self.channels % self.heads:
            raise ValueError(f"prior.*.channels must be a multiple of heads ({self.heads}), got {self.channels}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"prior.*.dropout must be in [0, 1), got {self.dropout}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"prior.*.lr must be above 0, got {self.lr}")


@dataclass(frozen=True)
class PriorConfig:
    """The prior over codes, p(top | text) p(bottom | top, text)."""

    top: LevelConfig = field(default_factory=LevelConfig)
    """The network over the top level's codes."""
    bottom: LevelConfig = field(
        default_factory=lambda: LevelConfig(
            channels=64, residual_channels=64, blocks=2, self_attention=False, context_blocks=3, max_steps=550
        )
    )
    """The network over the bottom level's codes, given the top level's."""
    text: TextForm = "tokens"
    """What is read of a caption: `tokens`, BLIP's token features, each beside the words around it, by cross-attention;
    `codes`, its text codes from the VQ-VAE alone, embedded anew, by cross-attention; `pooled`, BLIP's pooled embedding,
    which gates every residual block (arXiv:1606.05328)."""
    caption_dropout: float = 0.1
    """Share of training captions replaced by none, for classifier-free guidance (arXiv:2207.12598)."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    ema_decay: float = 0.99
    """Decay per step of the moving average of the weights that is published."""
    val_every: int = 250
    """Steps between validations; the weights of the best (bits per code) are kept."""
    precision: Precision = "float32"
    """Of products and convolutions in training: `bfloat16` is faster where the hardware multiplies it (elsewhere the
    stage trains in float32 and says so). The loss is computed in float32, and attention where
    processors train."""
    patience: int = 0
    """Validations in a row without a new best after which a level's training ends; 0: never."""

    def __post_init__(self) -> None:
        if not 0 <= self.caption_dropout < 1:
            raise ValueError(f"prior.caption_dropout must be in [0, 1), got {self.caption_dropout}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"prior.ema_decay must be in [0, 1), got {self.ema_decay}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"prior.weight_decay must be at least 0, got {self.weight_decay}")
        if self.val_every < 1:
            raise ValueError(f"prior.val_every must be at least 1, got {self.val_every}")
        if self.patience < 0:
            raise ValueError(f"prior.patience must not be negative, got {self.patience}")
