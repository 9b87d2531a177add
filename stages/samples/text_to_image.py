"""The whole system as one callable: BLIP's text features -> PixelSNAIL's codes -> the VQ-VAE's decoder."""

import torch
from torch import Tensor

from stages.blip import Blip, load_blip
from stages.config.samples import SamplingConfig
from stages.prior import Captions, Prior, load_prior
from stages.samples.inpainting import Inpainting
from stages.seeding import picture_seeds
from stages.vqvae import VQVAE, Codes, load_vqvae
from stages.workspace import Workspace


class TextToImage:
    """Paints prompts.

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
        prompts: list[str],
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int = 64,
        inpainting: Inpainting | None = None,
    ) -> Tensor:
        """One picture for each prompt.

        Args:
            seed: picture i depends on its prompt, `seed` and `start + i`, not on what is painted beside it.
            start: number of the first picture, for painting a long list in parts.
            batch_size: prompts painted at a time.
            inpainting: a picture of which every prompt paints the masked part anew; None: whole pictures.

        Returns:
            (B,3,H,W) in [-1,1].
        """
        seeds = picture_seeds(seed, len(prompts), start)
        known = None if inpainting is None else inpainting.known_codes(self.blip, self.vqvae)
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
            pictures.append(self.vqvae.decode(codes))
        painted = torch.cat(pictures)
        return painted if inpainting is None else inpainting.keep_pixels(painted)

    @torch.inference_mode()
    def read(self, prompts: list[str]) -> Captions:
        """The prompts in every form that a prior may read."""
        features = self.blip.encode_text(prompts)
        pooled = features.pooled.float()
        return Captions(features.tokens.float(), features.mask, pooled, self.vqvae.encode_text(pooled))


def _repeat(codes: Codes, count: int) -> Codes:
    return Codes(*(level.repeat(count, 1, 1) for level in codes))


def load_text_to_image(workspace: Workspace) -> TextToImage:
    """The system that a run's stages published.

    Raises:
        StageError: a stage has not been run, or its artefact is damaged.
    """
    return TextToImage(
        load_blip(workspace.require("blip")),
        load_prior(workspace.require("prior")),
        load_vqvae(workspace.require("vqvae")),
        workspace.config.samples.sampling,
    )
