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
    def samplers(self) -> dict[PixelSNAIL, Sampler]:
        """One for each network, whose weights must not change any more."""
        return {self.top: Sampler(self.top), self.bottom: Sampler(self.bottom)}

    @torch.inference_mode()
    def sample(
        self,
        captions: Captions,
        seeds: list[int],
        top: SamplingOptions,
        bottom: SamplingOptions,
        known: Codes | None = None,
    ) -> Codes:
        """Draws the codes of one picture for each caption, where the networks are.

        Args:
            captions: B of them.
            seeds: B of them; picture i depends on its caption and seeds[i] alone, whatever else is in the batch.
            top, bottom: how codes are drawn on each level.
            known: codes of B pictures that are kept, `UNKNOWN` where they are drawn; None: all are drawn.

        Returns:
            codes on the processor, as all that is given may be.
        """
        known_top, known_bottom = known or (None, None)
        top_codes = self._sample_level(self.top, captions, None, [2 * seed for seed in seeds], top, known_top)
        bottom_seeds = [2 * seed + 1 for seed in seeds]
        bottom_codes = self._sample_level(self.bottom, captions, top_codes, bottom_seeds, bottom, known_bottom)
        return Codes(top_codes, bottom_codes)

    def to(self, device: str) -> "Prior":
        """Itself, its networks moved there, "cpu" or "cuda"."""
        for network in (self.top, self.bottom):
            network.to(device)
        self.__dict__.pop("samplers", None)
        return self

    def _sample_level(
        self,
        network: PixelSNAIL,
        captions: Captions,
        context: Tensor | None,
        seeds: list[int],
        options: SamplingOptions,
        known: Tensor | None,
    ) -> Tensor:
        device = network.embedding.weight.device
        noise = gumbel_noise(seeds, network.sizes.side**2, network.sizes.codebook_size).to(device)
        context, known = (None if codes is None else codes.to(device) for codes in (context, known))
        conditioning = condition_rows(network, captions.to(device), context, options.guidance_scale)
        return self.samplers[network].sample(conditioning, noise, options, known).cpu()


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
