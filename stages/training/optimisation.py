"""The optimisers and schedules of the networks, and how large a network is."""

from collections.abc import Callable
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
    optimizer = torch.optim.AdamW(_groups(module, weight_decay), lr=lr, betas=betas, fused=True)
    warmup_steps = min(warmup_steps, max(1, max_steps // 10))

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps)))))

    return _scheduled(optimizer, factor)


def radam_lookahead(
    module: nn.Module,
    lr: float,
    weight_decay: float,
    warmup_steps: int = 0,
    betas: tuple[float, float] = (0.9, 0.999),
    k: int = 5,
    alpha: float = 0.5,
) -> Any:
    """RAdam (arXiv:1908.03265) inside Lookahead (arXiv:1907.08610), as `configure_optimizers` returns it.

    RAdam moves the fast weights, from which the gradients are taken. After every `k` of its steps the slow weights go
    the share `alpha` of the way to them, and the fast weights go on from there (Algorithm 1); RAdam's moments stay as
    they are. `fit` validates and publishes the slow weights, which Algorithm 1 returns. They are those of the last
    multiple of `k` steps: what a fit does after it is lost. The same weights decay as in `adamw_cosine`, decoupled from
    the gradient.

    Args:
        warmup_steps: of a linear rise to `lr`, which is constant from there; 0 for none, as RAdam needs none.
        k: steps from one synchronisation to the next (the paper's ImageNet runs: 5; the optimiser called Ranger: 6).
        alpha: share of the way, in (0, 1] (the paper's ImageNet runs: 0.5).
    """
    from pytorch_optimizer import Lookahead

    groups = _groups(module, weight_decay)
    radam = torch.optim.RAdam(groups, lr=lr, betas=betas, decoupled_weight_decay=True)
    return _scheduled(Lookahead(radam, k=k, alpha=alpha), lambda step: min(1.0, (step + 1) / max(1, warmup_steps)))


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What is trained of a module, in two groups: what decays and what does not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _scheduled(optimizer: torch.optim.Optimizer, factor: Callable[[int], float]) -> Any:
    """An optimiser whose learning rate is multiplied by `factor` of the steps done."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_count(module: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
