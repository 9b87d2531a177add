"""Both levels of the prior as later stages use them: captions in, codes out."""

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from stages.config.samples import SamplingOptions
from stages.prior.captions import Captions
from stages.prior.drawing import gumbel_noise
from stages.prior.pixelsnail import Conditioning, PixelSNAIL, PixelSNAILSizes
from stages.prior.sampler import Sampler, convolving_in_float32
from stages.seeding import drawn_seeds
from stages.vqvae import Codes
from stages.weights import load_sizes, load_weights, save_weights

LEVELS = ("top", "bottom")


class Prior:
    """p(top | text) p(bottom | top, text).

    Args:
        top, bottom: trained networks in eval mode.
    """

    def __init__(self, top: PixelSNAIL, bottom: PixelSNAIL) -> None:
        self.top, self.bottom = top, bottom

    @cached_property
    def samplers(self) -> dict[str, Sampler]:
        """One for each level, whose network's weights must not change any more."""
        return {level: Sampler(getattr(self, level)) for level in LEVELS}

    @torch.inference_mode()
    def sample(
        self,
        captions: Captions,
        seeds: list[int] | torch.Generator,
        top: SamplingOptions,
        bottom: SamplingOptions,
        known: Codes | None = None,
    ) -> Codes:
        """Draws the codes of one picture for each caption, where the networks are.

        Args:
            captions: B of them.
            seeds: B of them; picture i depends on its caption and seeds[i] alone, whatever else is in the batch. Or a
                generator that they are drawn from.
            top, bottom: how codes are drawn on each level.
            known: codes of B pictures that are kept, `UNKNOWN` where they are drawn; None: all are drawn.

        Returns:
            codes on the processor, as all that is given may be.
        """
        if isinstance(seeds, torch.Generator):
            seeds = drawn_seeds(seeds, len(captions.mask))
        known_top, known_bottom = known or (None, None)
        top_codes = self._sample_level("top", captions, None, seeds, top, known_top)
        bottom_codes = self._sample_level("bottom", captions, top_codes, seeds, bottom, known_bottom)
        return Codes(top_codes, bottom_codes)

    def given(
        self, level: str, captions: Captions, context: Tensor | None, seeds: list[int], guidance_scale: float
    ) -> tuple[Conditioning, Tensor]:
        """What a level's codes are drawn from, where its network is: their conditioning, and noise (B,HW,K).

        Args:
            context: codes of the level above; None on the top level.
            seeds: those of the pictures.
        """
        network: PixelSNAIL = getattr(self, level)
        device = network.embedding.weight.device
        own_seeds = [2 * seed + LEVELS.index(level) for seed in seeds]
        noise = gumbel_noise(own_seeds, network.sizes.side**2, network.sizes.codebook_size).to(device)
        context = None if context is None else context.to(device)
        return condition_rows(network, captions.to(device), context, guidance_scale), noise

    def to(self, device: str) -> "Prior":
        """Itself, its networks moved there, "cpu" or "cuda"."""
        for network in (self.top, self.bottom):
            network.to(device)
        self.__dict__.pop("samplers", None)
        return self

    def _sample_level(
        self,
        level: str,
        captions: Captions,
        context: Tensor | None,
        seeds: list[int],
        options: SamplingOptions,
        known: Tensor | None,
    ) -> Tensor:
        conditioning, noise = self.given(level, captions, context, seeds, options.guidance_scale)
        known = None if known is None else known.to(noise.device)
        return self.samplers[level].sample(conditioning, noise, options, known).cpu()


@convolving_in_float32()
def condition_rows(
    network: PixelSNAIL, captions: Captions, context: Tensor | None, guidance_scale: float
) -> Conditioning:
    """Conditioning of B rows; with guidance, of 2B: the captioned ones, then the same without caption."""
    if guidance_scale != 1:
        captions = captions.beside_none()
        context = None if context is None else context.repeat(2, 1, 1)
    return network.condition(captions, context)


def save_prior(prior: Prior, directory: Path) -> None:
    """Writes `top.safetensors`, `bottom.safetensors` and their sizes."""
    for name in LEVELS:
        network: PixelSNAIL = getattr(prior, name)
        save_weights(network, network.sizes, directory, name)


def load_prior(directory: Path) -> Prior:
    """The networks of a published `prior` artefact.

    Raises:
        StageError: a file is missing, cut short or of another network.
    """
    networks = {}
    for name in LEVELS:
        networks[name] = PixelSNAIL(load_sizes(PixelSNAILSizes, directory, name))
        load_weights(networks[name], directory, name)
    return Prior(**networks)
