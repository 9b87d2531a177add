"""What a denoiser is trained for, from scratch or from a checkpoint."""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.training_utils import compute_snr
from torch import Tensor


def denoising_losses(predicted: Tensor, x_0: Tensor, eps: Tensor, t: Tensor, chain: Any, gamma: float) -> Tensor:
    """Squared errors (B,) of predictions for x_t (arXiv:2006.11239, Eq. 14), weighted as `min_snr_weight` has it.

    Args:
        predicted: (B,C,h,w), eps or v (arXiv:2202.00512), as the chain's config says.
        x_0, eps: (B,C,h,w), what was noised and with what.
        t: (B,) int64 timesteps.
        chain: a scheduler of `diffusers`.
    """
    target = chain.get_velocity(x_0, eps, t) if _predicts_v(chain) else eps
    squared = F.mse_loss(predicted.float(), target, reduction="none").mean(dim=(1, 2, 3))
    return squared * min_snr_weight(chain, t, gamma)


def min_snr_weight(chain: Any, t: Tensor, gamma: float) -> Tensor:
    """Weights (B,) at timesteps (B,): min(SNR, gamma) of x_0's error (arXiv:2303.09556), in terms of eps or v.

    Args:
        gamma: 0 for no weights.
    """
    if gamma == 0:
        return torch.ones(len(t), device=t.device)
    snr: Tensor = compute_snr(chain, t)
    if _predicts_v(chain):
        return snr.clamp(max=gamma) / (snr + 1)
    return (gamma / snr).clamp(max=1)  # = min(SNR, gamma) / SNR, also where the chain ends in pure noise


def _predicts_v(chain: Any) -> bool:
    return bool(chain.config.prediction_type == "v_prediction")
