"""The optimiser and schedule of every network, and how large a network is."""

from typing import Any

import numpy as np
import torch
from torch import nn


def adamw_cosine(
    module: nn.Module,
    lr: float,
    weight_decay: float,
    warmup_steps: int,
    max_steps: int,
    betas: tuple[float, float] = (0.9, 0.99),
) -> Any:
    """AdamW with a linear warm-up and a cosine fall to 0 over `max_steps`, as `configure_optimizers` returns it.

    Weights of two or more dimensions decay; biases, gains and norms do not.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)
    warmup_steps = min(warmup_steps, max(1, max_steps // 10))

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps)))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_count(module: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
