"""The stock pipeline of a checkpoint, its sizes checked, and the low-rank updates beside its U-Net's attention."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor

from stages.diffusion.network import sampling_scheduler
from stages.diffusion.pretrained.checkpoint import KEY, Checkpoint
from stages.errors import StageError

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
PREDICTIONS = ("epsilon", "v_prediction")


def load_pipeline(checkpoint: Checkpoint) -> StableDiffusionPipeline:
    """The checkpoint's pipeline on the CPU in float32, frozen, without its safety checker.

    Raises:
        StageError: a file is damaged, or its parts do not fit one another or what can be tuned here.
    """
    with _explained(checkpoint), _quiet():
        pipeline = StableDiffusionPipeline.from_pretrained(
            checkpoint.folder,
            torch_dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
            requires_safety_checker=False,
        )
    _check_fit(pipeline, checkpoint)
    for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        network.eval().requires_grad_(False)
    positions = pipeline.text_encoder.config.max_position_embeddings
    pipeline.tokenizer.model_max_length = min(pipeline.tokenizer.model_max_length, positions)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def _explained(checkpoint: Checkpoint) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StageError(f"{KEY}: cannot load {checkpoint.name} ({reason}); check it or fetch it again") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what is said of old checkpoints: their schedulers lack settings, which the pipeline then makes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


def _check_fit(pipeline: StableDiffusionPipeline, checkpoint: Checkpoint) -> None:
    unet, latent = pipeline.unet.config, pipeline.vae.config.latent_channels
    width, text = unet.cross_attention_dim, pipeline.text_encoder.config.hidden_size
    prediction = pipeline.scheduler.config.prediction_type
    reason = None
    if not unet.in_channels == unet.out_channels == latent == 4:
        reason = (
            f"its U-Net maps {unet.in_channels} channels to {unet.out_channels}, its VAE has {latent}; all must be 4"
        )
    elif width != text:
        reason = f"its U-Net attends to text of width {width}, its text encoder makes {text}"
    elif not isinstance(unet.sample_size, int):
        reason = f"its U-Net's sample_size must be one number, the side of its latents, got {unet.sample_size}"
    elif prediction not in PREDICTIONS:
        reason = f"it predicts {prediction}; {' and '.join(PREDICTIONS)} can be tuned"
    if reason is not None:
        raise StageError(f"{KEY}: {checkpoint.name} cannot be tuned: {reason}")


def picture_side(pipeline: StableDiffusionPipeline) -> int:
    """Side of the pictures that the checkpoint was trained on, pixels: its latents' side times the VAE's factor.

    Pictures of a data set are brought to it, whatever their own side: attention and position-free convolutions do run
    on others, but what they have learned is how large things are in latents of this side.
    """
    return int(pipeline.unet.config.sample_size) * int(pipeline.vae_scale_factor)


def resize(image: Tensor, side: int) -> Tensor:
    """Image (B,3,H,H) in [-1,1] -> (B,3,side,side) in [-1,1], bicubic, low-pass filtered where it gets smaller."""
    if image.shape[-1] == side:
        return image
    return F.interpolate(image, size=(side, side), mode="bicubic", antialias=True).clamp(-1, 1)


def chain_config(pipeline: StableDiffusionPipeline) -> dict[str, Any]:
    """The checkpoint's noising chain as a scheduler's config; x_0 is not clipped, for latents go beyond [-1,1].

    Configs written for a scheduler without `clip_sample` do not mention it, and others clip unless told not to.
    """
    return {**pipeline.scheduler.config, "clip_sample": False}


def training_chain(pipeline: StableDiffusionPipeline) -> DDPMScheduler:
    """The chain that the checkpoint was trained on, whatever sampler it is shipped with."""
    return DDPMScheduler.from_config(chain_config(pipeline))


def check_steps(pipeline: StableDiffusionPipeline, num_inference_steps: int) -> None:
    """Makes sure that a sampler can take so many steps.

    Raises:
        StageError: the checkpoint's chain is shorter.
    """
    length = pipeline.scheduler.config.num_train_timesteps
    if num_inference_steps > length:
        wanted = f"must be at most the checkpoint's {length} timesteps, got {num_inference_steps}"
        raise StageError(f"diffusion.sampling.num_inference_steps {wanted}")


def choose_scheduler(pipeline: StableDiffusionPipeline, name: str) -> None:
    """Gives the pipeline the sampler of that name in the config, on the checkpoint's own chain."""
    pipeline.scheduler = sampling_scheduler(name, chain_config(pipeline))


def add_lora(unet: UNet2DConditionModel, rank: int, alpha: int, seed: int) -> None:
    """Puts low-rank updates (arXiv:2106.09685) beside all attention projections, in place; only they get gradients."""
    from peft import LoraConfig

    lora = LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=list(ATTENTION))
    with torch.random.fork_rng(devices=[]):  # peft draws from the global generator
        torch.manual_seed(seed)
        unet.add_adapter(lora)


def save_lora(unet: UNet2DConditionModel, directory: Path) -> None:
    """Writes `pytorch_lora_weights.safetensors`, which plain diffusers' `load_lora_weights(directory)` reads."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import get_peft_model_state_dict

    StableDiffusionPipeline.save_lora_weights(
        directory,
        unet_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(unet)),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),  # holds lora_alpha, which no weight tells
    )


def load_lora(pipeline: StableDiffusionPipeline, directory: Path) -> None:
    """Reads what `save_lora` wrote into the pipeline's U-Net.

    Raises:
        StageError: the file is missing, damaged or made for another network.
    """
    from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE as NAME

    if not (directory / NAME).is_file():
        raise StageError(f"{directory / NAME} is missing; run: make diffusion")
    try:
        pipeline.unet.load_lora_adapter(
            directory, prefix="unet", weight_name=NAME, use_safetensors=True, local_files_only=True
        )  # what `load_lora_weights` does, without its looking for the text encoder's
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StageError(f"{directory / NAME} cannot be loaded ({reason}); run: make diffusion") from None
    pipeline.unet.requires_grad_(False)
