"""A tuned checkpoint as one callable: prompts in, pictures of the data set's size out, through the stock pipelines."""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline
from torch import Tensor

from stages.config.diffusion import DenoisingConfig
from stages.data import pictures_at_once
from stages.diffusion.pretrained.checkpoint import find_checkpoint
from stages.diffusion.pretrained.pipeline import choose_scheduler, load_lora, load_pipeline, picture_side, resize
from stages.diffusion.pretrained.published import Base
from stages.errors import StageError
from stages.painter import Editing
from stages.seeding import picture_seeds
from stages.workspace import Workspace


class TunedTextToImage:
    """Paints prompts with a tuned checkpoint; a `Painter`.

    Whatever the call, picture i depends on its prompt, `seed` and `start + i` only: each has a generator of its own for
    all that is random about it. Pictures are painted at the checkpoint's own side and brought to the data set's.

    Args:
        pipeline: of the checkpoint, with the updates.
        image_size: side of the pictures that are returned, pixels.
        sampling: how they are denoised.
    """

    def __init__(self, pipeline: StableDiffusionPipeline, image_size: int, sampling: DenoisingConfig) -> None:
        choose_scheduler(pipeline, sampling.scheduler)
        self.pipeline = pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
        self.pipeline.vae.enable_slicing()  # decodes picture by picture: its activations are the largest
        self.image_size, self.sampling = image_size, sampling
        self.side = picture_side(pipeline)

    def __call__(
        self, prompts: list[str], *, seed: int = 0, start: int = 0, batch_size: int = 64, editing: Editing | None = None
    ) -> Tensor:
        """One picture for each prompt, (B,3,H,W) in [-1,1]: see `Painter`.

        Raises:
            StageError: the strength of the editing leaves no step to take.
        """
        pipeline, inputs = self._choose(editing)
        painted = self._paint(pipeline, prompts, picture_seeds(seed, len(prompts), start), batch_size, inputs)
        return painted if editing is None else editing.keep_pixels(painted)

    def _choose(self, editing: Editing | None) -> tuple[Any, dict[str, Any]]:
        """The stock pipeline for what is asked, and what it is given beside the prompts."""
        size = {"height": self.side, "width": self.side}
        if editing is None:
            return self.pipeline, size
        self._check_strength(editing.strength)
        inputs = {"image": self._stock_image(editing.image), "strength": editing.strength}
        if editing.repaint is None:  # noised and painted on from there (arXiv:2108.01073)
            return self._pipeline_of(StableDiffusionImg2ImgPipeline), inputs
        inputs |= size | {"mask_image": self._stock_mask(editing.repaint)}
        return self._pipeline_of(StableDiffusionInpaintPipeline), inputs

    def _pipeline_of(self, kind: Any) -> Any:
        return kind(**self.pipeline.components, requires_safety_checker=False)

    def _paint(
        self, pipeline: Any, prompts: list[str], seeds: list[int], batch_size: int, inputs: dict[str, Any]
    ) -> Tensor:
        pipeline.set_progress_bar_config(disable=True)
        at_once = pictures_at_once(int(pipeline.unet.config.sample_size), batch_size)
        pictures = []
        for first in range(0, len(prompts), at_once):
            batch = slice(first, first + at_once)
            size = len(prompts[batch])
            # A picture that is given is repeated: the pipelines would encode a single one with the first generator.
            given = {
                name: value.repeat(size, 1, 1, 1) if isinstance(value, Tensor) else value
                for name, value in inputs.items()
            }
            painted = pipeline(
                prompts[batch],
                **given,
                num_inference_steps=self.sampling.num_inference_steps,
                guidance_scale=self.sampling.guidance_scale,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[batch]],
                output_type="pt",
            ).images  # (b,3,S,S) in [0,1]
            pictures.append(resize(painted.float().cpu() * 2 - 1, self.image_size))
        return torch.cat(pictures)

    def _check_strength(self, strength: float) -> None:
        steps = self.sampling.num_inference_steps
        if not 0 < strength <= 1 or int(strength * steps) < 1:
            raise StageError(
                f"strength must be in [1 / diffusion.sampling.num_inference_steps ({steps}), 1], got {strength}"
            )

    def _stock_image(self, image: Tensor) -> Tensor:
        """(1,3,H,W) in [-1,1] -> (1,3,S,S) in [0,1], as the pipelines take it."""
        return (resize(image, self.side) + 1) / 2

    def _stock_mask(self, mask: Tensor) -> Tensor:
        """(1,1,H,W) bool -> (1,1,S,S) in {0,1}, grown to whole places of the latents: each is painted or kept."""
        factor = int(self.pipeline.vae_scale_factor)
        large = F.interpolate(mask.float(), size=(self.side, self.side), mode="area").gt(0).float()
        return F.interpolate(F.max_pool2d(large, factor), scale_factor=factor, mode="nearest")


def load_tuned(workspace: Workspace) -> TunedTextToImage:
    """The tuned checkpoint that a run's stage `diffusion` published.

    Raises:
        StageError: the stage has not been run, its artefact is damaged, or the checkpoint is gone or another.
    """
    directory = workspace.require("diffusion")
    base = Base.load(directory)
    checkpoint = find_checkpoint(base.name, base.revision)
    base.verify(checkpoint.folder, checkpoint.digests(), directory)
    pipeline = load_pipeline(checkpoint)
    load_lora(pipeline, directory)
    return TunedTextToImage(pipeline, base.image_size, workspace.config.diffusion.sampling)
