"""Section `diffusion`: the baseline."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class DiffusionConfig:
    """A text-conditioned latent DDPM (arXiv:2006.11239, arXiv:2112.10752) over the VQ-VAE's latents."""

    channels: list[int] = field(default_factory=lambda: [64, 96])
    """Width of the U-Net at each resolution, from the bottom grid's down; multiples of 32. Attention, to itself and to
    the text, is at every resolution but the first (at the only one, if there is one)."""
    layers_per_block: int = 1
    """Residual layers at each resolution."""
    heads: int = 4
    """Attention heads."""
    train_timesteps: int = 1000
    """Length of the noising chain."""
    prediction_type: Literal["epsilon", "v_prediction"] = "v_prediction"
    """What the network predicts (v: arXiv:2202.00512)."""
    min_snr_gamma: float = 5.0
    """Loss weight min(SNR, gamma), arXiv:2303.09556; 0 for none."""
    caption_dropout: float = 0.1
    """Share of training captions replaced by none, for classifier-free guidance."""
    batch_size: int = 32
    """Pictures a step."""
    max_steps: int = 600
    """Optimiser steps."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    ema_decay: float = 0.99
    """Decay per step of the moving average of the weights that is published."""
    val_every: int = 200
    """Steps between validations; the weights of the best (lowest loss) are kept."""
    scheduler: Literal["DDPM", "DDIM", "DPM-Solver++"] = "DPM-Solver++"
    """Sampler (`diffusers`)."""
    num_inference_steps: int = 20
    """Steps of the sampler."""
    guidance_scale: float = 3.0
    """Classifier-free guidance (arXiv:2207.12598); 1 is without."""

    def __post_init__(self) -> None:
        if not self.channels or any(c % 32 for c in self.channels):
            raise ValueError(f"diffusion.channels must be multiples of 32, got {self.channels}")
        if not 0 <= self.caption_dropout < 1:
            raise ValueError(f"diffusion.caption_dropout must be in [0, 1), got {self.caption_dropout}")
        for name in (
            "layers_per_block",
            "heads",
            "train_timesteps",
            "batch_size",
            "max_steps",
            "val_every",
            "num_inference_steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"diffusion.{name} must be at least 1, got {getattr(self, name)}")
        if self.num_inference_steps > self.train_timesteps:
            raise ValueError(
                f"diffusion.num_inference_steps must be at most train_timesteps ({self.train_timesteps}), "
                f"got {self.num_inference_steps}"
            )
        if self.lr <= 0 or self.guidance_scale < 0 or self.min_snr_gamma < 0:
            raise ValueError("diffusion.lr must be above 0, guidance_scale and min_snr_gamma at least 0")
