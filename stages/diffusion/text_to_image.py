"""The baseline as one callable: BLIP's text features -> x_0, denoised from noise -> a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from stages.blip import Blip, load_blip
from stages.config.diffusion import DenoisingConfig
from stages.diffusion.module import drop_captions
from stages.diffusion.network import sampling_scheduler
from stages.diffusion.precision import spare_slow_kernels
from stages.diffusion.spaces import Space, load_space
from stages.errors import StageError
from stages.painter import Editing, Painter
from stages.seeding import picture_seeds
from stages.training import multiplying_in
from stages.vqvae import load_vqvae
from stages.workspace import Workspace


@dataclass(frozen=True)
class Start:
    """A picture to change, where the network works."""

    x_0: Tensor
    """(1,C,h,w)."""
    repaint: Tensor | None
    """(1,1,h,w) bool, True where x_0 is made anew; None: all of it is varied."""
    strength: float


class DiffusionTextToImage:
    """Paints prompts by denoising; a `Painter`.

    Args:
        network, scheduler: U-Net and the chain it was trained on.
        space: what the network denoises.
        sampling: how it is denoised.
    """

    def __init__(
        self, blip: Blip, network: UNet2DConditionModel, scheduler: Any, space: Space, sampling: DenoisingConfig
    ) -> None:
        self.blip, self.network, self.scheduler = blip, network, scheduler
        self.space, self.sampling = space, sampling

    def with_sampling(self, sampling: DenoisingConfig) -> "DiffusionTextToImage":
        """The same system, denoised otherwise."""
        return DiffusionTextToImage(self.blip, self.network, self.scheduler, self.space, sampling)

    @torch.inference_mode()
    def __call__(
        self, prompts: list[str], *, seed: int = 0, start: int = 0, batch_size: int = 64, editing: Editing | None = None
    ) -> Tensor:
        """One picture for each prompt, (B,3,H,W) in [-1,1]: see `Painter`.

        A picture with a mask: its part outside is noised to each step's level beside what is made inside
        (arXiv:2201.09865, without its resampling). A picture without: it is noised as far up the chain as the strength
        says and denoised from there (arXiv:2108.01073).
        """
        seeds = picture_seeds(seed, len(prompts), start)
        begin = None if editing is None else self._begin(editing)
        pictures = []
        for first in range(0, len(prompts), batch_size):
            batch = slice(first, first + batch_size)
            pictures.append(self.space.to_image(self._denoise(prompts[batch], seeds[batch], begin)))
        painted = torch.cat(pictures)
        return painted if editing is None else editing.keep_pixels(painted)

    def _begin(self, editing: Editing) -> Start:
        x_0 = self.space.from_image(editing.image, self.blip.encode_images(editing.image))
        return Start(x_0, editing.repainted_cells(self.space.side), editing.strength)

    def _denoise(self, prompts: list[str], seeds: list[int], begin: Start | None) -> Tensor:
        """x_0 (B,C,h,w) of prompts."""
        text, mask = self._read(prompts)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        shape = self.space.channels, self.space.side, self.space.side
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        scheduler = sampling_scheduler(self.sampling.scheduler, self.scheduler.config)
        scheduler.set_timesteps(self.sampling.num_inference_steps)
        x_t, skipped = noise, 0
        if begin is not None and begin.repaint is None:
            x_t, skipped = self._part_way(scheduler, begin, noise)
        timesteps = scheduler.timesteps[skipped:]
        for number, t in enumerate(timesteps):
            predicted = self._predict(scheduler.scale_model_input(x_t, t), t, text, mask)
            x_t = scheduler.step(predicted, t, x_t, **self._step_noise(generators)).prev_sample
            if begin is not None and begin.repaint is not None:
                following = timesteps[number + 1 : number + 2]
                known = scheduler.add_noise(begin.x_0, noise, following) if len(following) else begin.x_0
                x_t = torch.where(begin.repaint, x_t, known)
        return x_t

    def _read(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Token features and mask; with guidance the rows without a caption follow those with."""
        features = self.blip.encode_text(prompts)
        text, mask = features.tokens.float(), features.mask
        if not self._guided:
            return text, mask
        none = drop_captions(text, mask, torch.zeros(len(text), dtype=torch.bool))
        return torch.cat([text, none[0]]), torch.cat([mask, none[1]])

    @property
    def _guided(self) -> bool:
        return self.sampling.guidance_scale != 1

    def _part_way(self, scheduler: Any, begin: Start, noise: Tensor) -> tuple[Tensor, int]:
        """x_t of the picture as far up the chain as the strength says, and the number of steps not to be made."""
        steps = len(scheduler.timesteps)
        skipped = steps - max(1, round(begin.strength * steps))
        if hasattr(scheduler, "set_begin_index"):  # those that keep count of their steps
            scheduler.set_begin_index(skipped)
        return scheduler.add_noise(begin.x_0, noise, scheduler.timesteps[skipped : skipped + 1]), skipped

    def _predict(self, x_t: Tensor, t: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """The network's prediction for x_t (B,C,h,w), guided."""
        model_input = x_t.repeat(len(text) // len(x_t), 1, 1, 1).contiguous(memory_format=torch.channels_last)
        with multiplying_in(self.sampling.precision, model_input.device):
            found = self.network(model_input, t, encoder_hidden_states=text, encoder_attention_mask=mask).sample
        predicted: Tensor = found.float()
        if not self._guided:
            return predicted
        captioned, uncaptioned = predicted.chunk(2)
        return uncaptioned + self.sampling.guidance_scale * (captioned - uncaptioned)

    def _step_noise(self, generators: list[torch.Generator]) -> dict[str, Any]:
        """Schedulers that add noise at each step take it from the pictures' own generators."""
        return {"generator": generators} if self.sampling.scheduler == "DDPM" else {}


def load_diffusion(workspace: Workspace) -> Painter:
    """The baseline that a run's stages published, to be sampled as the run's config says.

    Raises:
        StageError: a stage has not been run, or its artefact is damaged.
    """
    if workspace.config.diffusion.pretrained:
        from stages.diffusion.pretrained import load_tuned

        return load_tuned(workspace)
    return load_from_scratch(workspace)


def load_from_scratch(workspace: Workspace) -> DiffusionTextToImage:
    """The baseline of a run that names no checkpoint to tune; otherwise as `load_diffusion`."""
    return _open(workspace, workspace.require("diffusion"))


def load_rival(workspace: Workspace, run: str) -> DiffusionTextToImage:
    """The baseline of another run beside this one, trained on the same codes and text features with other settings.

    Raises:
        StageError: it is not there, or was trained on others.
    """
    return _open(workspace, require_rival(workspace, run))


def require_rival(workspace: Workspace, run: str) -> Path:
    """Where `load_rival` finds it, which raises likewise; nothing is read but manifests."""
    other = workspace.beside(run)
    inputs = other.manifest("diffusion")["inputs"]
    for stage in ("blip", "vqvae", "codes"):
        if inputs[stage] != workspace.digest(stage):
            raise StageError(
                f"{other.directory('diffusion')} was made from another '{stage}' than that of run "
                f"'{workspace.config.run}': compare runs that share it (make compare-diffusion makes such)"
            )
    return other.directory("diffusion")


def _open(workspace: Workspace, directory: Path) -> DiffusionTextToImage:
    network = UNet2DConditionModel.from_pretrained(directory / "unet").eval().requires_grad_(False)
    spare_slow_kernels(network)
    return DiffusionTextToImage(
        load_blip(workspace.require("blip")),
        network.to(memory_format=torch.channels_last),
        DDPMScheduler.from_pretrained(directory / "scheduler"),
        load_space(directory, load_vqvae(workspace.require("vqvae"))),
        workspace.config.diffusion.sampling,
    )
