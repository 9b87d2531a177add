"""The whole system as one callable: BLIP's text features -> PixelSNAIL's codes -> the VQ-VAE's decoder."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.blip import Blip, load_blip
from stages.config.samples import SamplingConfig
from stages.errors import StageError
from stages.painter import Editing
from stages.prior import UNKNOWN, Captions, Prior, load_prior
from stages.seeding import drawn_seeds, picture_seeds
from stages.vqvae import VQVAE, Codes, load_vqvae
from stages.workspace import Workspace


class TextToImage:
    """Paints prompts with the prior; a `Painter`.

    Prompts are read and pictures decoded one by one: in a batch of another size sums are rounded otherwise, and of 64
    pictures of the demo 5 had a pixel that was off by a level.

    Args:
        blip, prior, vqvae: what the stages published.
        sampling: how codes are drawn.
    """

    def __init__(self, blip: Blip, prior: Prior, vqvae: VQVAE, sampling: SamplingConfig) -> None:
        self.blip, self.prior, self.vqvae, self.sampling = blip, prior, vqvae, sampling

    def with_sampling(self, sampling: SamplingConfig) -> "TextToImage":
        """The same system, its codes drawn otherwise."""
        return TextToImage(self.blip, self.prior, self.vqvae, sampling)

    @torch.inference_mode()
    def __call__(
        self,
        prompts: Sequence[str | None],
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int = 64,
        editing: Editing | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """One picture for each prompt, (B,3,H,W) in [-1,1]: see `Painter`.

        Codes are drawn in raster order: what is painted into a picture goes on from what lies above and to its left.
        A prompt that is None is painted without a caption, as those that training drops; guidance does nothing to it.
        With a `generator` the pictures' seeds are drawn from it, in place of those that `seed` and `start` give.

        Raises:
            StageError: a picture is to be edited without a mask, which codes cannot be.
        """
        count = len(prompts)
        seeds = picture_seeds(seed, count, start) if generator is None else drawn_seeds(generator, count)
        known = None if editing is None else self.known_codes(editing)
        pictures = []
        for first in range(0, len(prompts), batch_size):
            batch = slice(first, first + batch_size)
            codes = self.prior.sample(
                self.read(prompts[batch]),
                seeds[batch],
                self.sampling.top,
                self.sampling.bottom,
                None if known is None else _repeat(known, len(seeds[batch])),
            )
            singles = zip(codes.top.split(1), codes.bottom.split(1), strict=True)
            pictures += [self.vqvae.decode(Codes(*single)) for single in singles]
        painted = torch.cat(pictures)
        return painted if editing is None else editing.keep_pixels(painted)

    def known_codes(self, editing: Editing) -> Codes:
        """A picture's codes, top (1,h,w) and bottom (1,2h,2w), `UNKNOWN` where their cell has a pixel to repaint.

        Raises:
            StageError: the editing has no mask.
        """
        if editing.repaint is None:
            raise StageError(
                "samples.image is given without samples.mask: the prior draws codes and cannot vary a whole picture; "
                "give a mask, or vary it with --samples.system diffusion"
            )
        codes = self.vqvae.encode(editing.image, self.blip.encode_images(editing.image))
        return Codes(*(_forget(level, editing) for level in codes))

    @torch.inference_mode()
    def read(self, prompts: Sequence[str | None]) -> Captions:
        """The prompts in every form that a prior may read; one that is None is no caption in any of them."""
        singles = {prompt: self._read_one(prompt) for prompt in dict.fromkeys(prompts)}
        return Captions.stacked([singles[prompt] for prompt in prompts])

    def _read_one(self, prompt: str | None) -> Captions:
        features = self.blip.encode_text([prompt or ""])
        pooled = features.pooled.float()
        captions = Captions(features.tokens.float(), features.mask, pooled, self.vqvae.encode_text(pooled))
        return captions if prompt is not None else captions.drop()


def _forget(indices: Tensor, editing: Editing) -> Tensor:
    cells = editing.repainted_cells(indices.shape[-1])
    assert cells is not None
    return torch.where(cells[:, 0], UNKNOWN, indices)


def _repeat(codes: Codes, count: int) -> Codes:
    return Codes(*(level.repeat(count, 1, 1) for level in codes))


def load_text_to_image(workspace: Workspace) -> TextToImage:
    """The system that a run's stages published.

    Raises:
        StageError: a stage has not been run, its artefact is damaged, or `samples.device` is not there.
    """
    device = find_device(workspace.config.samples.device)
    return TextToImage(
        load_blip(workspace.require("blip")),
        load_prior(workspace.require("prior")).to(device),
        load_vqvae(workspace.require("vqvae")),
        workspace.config.samples.sampling,
    )


def find_device(wanted: str) -> str:
    """`samples.device`, if it is there; otherwise a StageError."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise StageError("samples.device is 'cuda', but torch finds no GPU here; --samples.device cpu draws without")
    return wanted
