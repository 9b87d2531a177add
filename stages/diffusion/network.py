"""The baseline's U-Net and schedules, all `diffusers`'."""

from typing import Any

from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel

from stages.config.diffusion import DiffusionConfig

SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "DDPM": (DDPMScheduler, {}),
    "DDIM": (DDIMScheduler, {}),
    "DPM-Solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
}


def build_unet(config: DiffusionConfig, channels: int, side: int, text_width: int) -> UNet2DConditionModel:
    """U-Net over x_t (B,channels,side,side), with cross-attention to text tokens (B,L,text_width).

    Tokens are projected once, to the width of the first level: many times as wide as these networks, they would take
    more weights in each attention than all the rest of it.
    """
    attends = [side >> level <= config.attention_side for level in range(len(config.channels))]
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        down_block_types=tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
        block_out_channels=tuple(config.channels),
        layers_per_block=config.layers_per_block,
        encoder_hid_dim=text_width,
        encoder_hid_dim_type="text_proj",
        cross_attention_dim=config.channels[0],
        attention_head_dim=config.heads,  # the library's name for their number
        norm_num_groups=16,
    )


def training_scheduler(config: DiffusionConfig) -> DDPMScheduler:
    """The noising chain: cosine-like squared schedule, ending in (nearly) pure noise."""
    return DDPMScheduler(
        num_train_timesteps=config.train_timesteps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=config.prediction_type,
        clip_sample=False,
    )


def sampling_scheduler(name: str, trained: Any) -> Any:
    """The sampler of that name in the config, on the chain that `trained` (a scheduler's config) describes."""
    kind, options = SCHEDULERS[name]
    return kind.from_config(trained, **options)
