"""The baseline as one callable: BLIP's text features -> denoised latents -> the VQ-VAE's decoder."""

from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from stages.blip import Blip, load_blip
from stages.config.diffusion import DiffusionConfig
from stages.diffusion.latents import LatentSpace
from stages.diffusion.module import drop_captions
from stages.diffusion.network import sampling_scheduler
from stages.seeding import picture_seeds
from stages.vqvae import VQVAE, load_vqvae
from stages.workspace import Workspace


class DiffusionTextToImage:
    """Paints prompts by denoising; called like `stages.samples.TextToImage`.

    Args:
        network, scheduler: U-Net and the chain it was trained on.
        space: normalisation of the latents.
    """

    def __init__(
        self,
        blip: Blip,
        network: UNet2DConditionModel,
        scheduler: Any,
        space: LatentSpace,
        vqvae: VQVAE,
        config: DiffusionConfig,
    ) -> None:
        self.blip, self.network, self.scheduler = blip, network, scheduler
        self.space, self.vqvae, self.config = space, vqvae, config

    @torch.inference_mode()
    def __call__(self, prompts: list[str], *, seed: int = 0, start: int = 0, batch_size: int = 64) -> Tensor:
        """One picture for each prompt, (B,3,H,W) in [-1,1]; picture i depends on its prompt, `seed` and `start + i`."""
        seeds = picture_seeds(seed, len(prompts), start)
        pictures = []
        for first in range(0, len(prompts), batch_size):
            batch = slice(first, first + batch_size)
            x_0 = self._denoise(prompts[batch], seeds[batch])
            pictures.append(self.space.to_image(self.vqvae, x_0))
        return torch.cat(pictures)

    def _denoise(self, prompts: list[str], seeds: list[int]) -> Tensor:
        features = self.blip.encode_text(prompts)
        text, mask = features.tokens.float(), features.mask
        guided = self.config.guidance_scale != 1
        if guided:
            none = drop_captions(text, mask, torch.zeros(len(text), dtype=torch.bool))
            text, mask = torch.cat([text, none[0]]), torch.cat([mask, none[1]])
        scheduler = sampling_scheduler(self.config.scheduler, self.scheduler.config)
        scheduler.set_timesteps(self.config.num_inference_steps)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        side, channels = self.network.config.sample_size, self.network.config.in_channels
        x_t = torch.stack([torch.randn(channels, side, side, generator=generator) for generator in generators])
        for t in scheduler.timesteps:
            model_input = scheduler.scale_model_input(x_t, t)
            model_input = model_input.repeat(2, 1, 1, 1) if guided else model_input
            model_input = model_input.contiguous(memory_format=torch.channels_last)
            predicted = self.network(model_input, t, encoder_hidden_states=text, encoder_attention_mask=mask).sample
            if guided:
                captioned, uncaptioned = predicted.chunk(2)
                predicted = uncaptioned + self.config.guidance_scale * (captioned - uncaptioned)
            x_t = scheduler.step(predicted, t, x_t, **self._step_noise(generators)).prev_sample
        return x_t

    def _step_noise(self, generators: list[torch.Generator]) -> dict[str, Any]:
        """Schedulers that add noise at each step take it from the pictures' own generators."""
        return {"generator": generators} if self.config.scheduler == "DDPM" else {}


def load_diffusion(workspace: Workspace) -> DiffusionTextToImage:
    """The baseline that a run's stages published.

    Raises:
        StageError: a stage has not been run, or its artefact is damaged.
    """
    directory = workspace.require("diffusion")
    network = UNet2DConditionModel.from_pretrained(directory / "unet").eval().requires_grad_(False)
    return DiffusionTextToImage(
        load_blip(workspace.require("blip")),
        network.to(memory_format=torch.channels_last),
        DDPMScheduler.from_pretrained(directory / "scheduler"),
        LatentSpace.load(directory),
        load_vqvae(workspace.require("vqvae")),
        workspace.config.diffusion,
    )
