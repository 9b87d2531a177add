"""Section `diffusion`: the baseline."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.config.precision import Precision


@dataclass(frozen=True)
class DenoisingConfig:
    """How the baseline paints; read when pictures are made, so that changing it trains nothing again."""

    scheduler: Literal["DDPM", "DDIM", "DPM-Solver++"] = "DPM-Solver++"
    """Sampler (`diffusers`)."""
    num_inference_steps: int = 20
    """Steps of the sampler."""
    guidance_scale: float = 5.0
    """Classifier-free guidance (arXiv:2207.12598); 1 is without."""
    precision: Precision = "float32"
    """Of the network's products and convolutions: `bfloat16` is faster where the hardware multiplies it; elsewhere, and
    with a checkpoint that was tuned, pictures are made in float32."""

    def __post_init__(self) -> None:
        if self.num_inference_steps < 1:
            raise ValueError(
                f"diffusion.sampling.num_inference_steps must be at least 1, got {self.num_inference_steps}"
            )
        if self.guidance_scale < 0:
            raise ValueError(f"diffusion.sampling.guidance_scale must be at least 0, got {self.guidance_scale}")


@dataclass(frozen=True)
class DiffusionConfig:
    """A text-conditioned DDPM (arXiv:2006.11239) over the VQ-VAE's latents (arXiv:2112.10752) or over pixels."""

    pretrained: str = ""
    """Checkpoint to tune, a folder or hub name in the layout of Stable Diffusion (`model_index.json`, `unet/`, `vae/`,
    `text_encoder/`, `tokenizer/`, `scheduler/`); empty: the baseline from scratch. It brings its network, its latents,
    its text encoder, its noising chain and what it predicts. Of this section there apply to it `lora_rank`,
    `lora_alpha`, `min_snr_gamma`, `caption_dropout`, `batch_size`, `max_steps`, `lr`, `weight_decay`, `val_every`,
    `precision` and `sampling`; the others are the baseline's from scratch alone."""
    pretrained_revision: str = ""
    """Branch, tag or commit of the hub name; empty: its main branch. The commit that was tuned is published."""
    lora_rank: int = 8
    """Rank of the low-rank updates (LoRA, arXiv:2106.09685) of a checkpoint's attention projections; all its own
    weights stay as they are."""
    lora_alpha: int = 8
    """Updates are scaled by lora_alpha / lora_rank."""
    space: Literal["latent", "pixel"] = "latent"
    """What is denoised: both levels' latents on the bottom grid (side `image_size` / 4), or the picture itself."""
    shifted_views: bool = True
    """Whether latents are learnt from the code store's shifted views too (`codes.shifted_views`), as the prior's codes
    are; pixels never are."""
    channels: list[int] = field(default_factory=lambda: [64, 96])
    """Width of the U-Net at each resolution, from that of the space down; multiples of 32."""
    attention_side: int = 8
    """Largest side of a grid with attention, to itself and to the text; larger ones have convolutions only. The middle
    of the network, on its smallest grid, always attends."""
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
    batch_size: int = 16
    """Pictures a step."""
    max_steps: int = 1200
    """Optimiser steps."""
    lr: float = 2e-3
    """Peak learning rate of AdamW, after a rise over 50 steps or a tenth of all; from there it falls to 0 by a cosine
    up to `max_steps`. A checkpoint's low-rank updates want less, such as 1e-4."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    ema_decay: float = 0.99
    """Decay per step of the moving average of the weights that is published."""
    val_every: int = 400
    """Steps between validations; the weights of the best (lowest loss) are kept."""
    precision: Precision = "float32"
    """Of products and convolutions in training: `bfloat16` is faster where the hardware multiplies it (elsewhere the
    stage trains in float32 and says so). The loss is computed in float32, and where processors train attention and
    group normalisation are."""
    sampling: DenoisingConfig = field(default_factory=DenoisingConfig)
    """How pictures are made."""

    def __post_init__(self) -> None:
        if not self.channels or any(c < 1 or c % 32 for c in self.channels):
            raise ValueError(f"diffusion.channels must be multiples of 32, got {self.channels}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"diffusion.ema_decay must be in [0, 1), got {self.ema_decay}")
        if self.weight_decay < 0:
            raise ValueError(f"diffusion.weight_decay must not be negative, got {self.weight_decay}")
        if not 0 <= self.caption_dropout < 1:
            raise ValueError(f"diffusion.caption_dropout must be in [0, 1), got {self.caption_dropout}")
        for name in (
            "attention_side",
            "layers_per_block",
            "heads",
            "train_timesteps",
            "batch_size",
            "max_steps",
            "val_every",
            "lora_rank",
            "lora_alpha",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"diffusion.{name} must be at least 1, got {getattr(self, name)}")
        if self.sampling.num_inference_steps > self.train_timesteps:
            raise ValueError(
                "diffusion.sampling.num_inference_steps must be at most train_timesteps "
                f"({self.train_timesteps}), got {self.sampling.num_inference_steps}"
            )
        if self.lr <= 0 or self.min_snr_gamma < 0:
            raise ValueError("diffusion.lr must be above 0, min_snr_gamma at least 0")
        if self.pretrained_revision and not self.pretrained:
            raise ValueError("diffusion.pretrained_revision needs diffusion.pretrained, the hub name that it is of")
        if self.pretrained and self.sampling.guidance_scale < 1:
            raise ValueError(
                "diffusion.sampling.guidance_scale must be at least 1 with diffusion.pretrained (the library's "
                f"pipelines take less for 1), got {self.sampling.guidance_scale}"
            )

    @property
    def pictures_seen(self) -> int:
        """Training pictures that all steps together take, repeats counted."""
        return self.max_steps * self.batch_size

    def fingerprint(self) -> dict[str, Any]:
        """What the published weights depend on: all but how pictures are made with them."""
        section = dataclasses.asdict(self)
        del section["sampling"]
        return section
