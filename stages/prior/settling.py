"""Codes that float32 leaves in doubt are settled in float64.

Sums that are taken in another order are rounded otherwise, and where two codes are level within that, each order may
draw another one: no float32 is the right one, and the public loop's codes change there with its batch and its threads.
So a sampler also says which of its codes are in doubt, once in many thousands, and of these the network is asked again
in float64, where any order gives the same. It is how geometry decides on which side of a line a point lies: in floats,
and exactly where their error does not allow that (Shewchuk, Discrete Comput. Geom. 18, 1997). That error is proven,
this one is measured of the network, with a margin.
"""

import copy
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from stages.config.samples import SamplingOptions
from stages.prior.doubt import in_doubt
from stages.prior.drawing import UNKNOWN, Drawn, draw, guide
from stages.prior.pixelsnail import Conditioning, PixelSNAIL

MARGIN = 6
"""In standard deviations of how far the distance of two logits is off, at the worst of the positions measured."""
ROUNDED_SUM = 1e-6
"""By how much a logit plus its noise is rounded: numbers around 10."""
MEASURED_ROWS = 8
"""Rows of a grid that rounding is measured in, which is a matter of the network's depth."""


class Redrawn(NamedTuple):
    """What the full forward draws at each position of given codes, given those before it."""

    codes: Tensor
    """(B,H,W) int64; where they are the given codes everywhere, these are the full forward's."""
    in_float32: Tensor
    """(B,H,W) int64, before any doubt is settled."""
    in_doubt: Tensor
    """(B,H,W) bool."""


Sample = Callable[[Conditioning, Tensor, Tensor, float], Drawn]
"""Draws, given conditioning, noise, known codes and by how much the distance of two logits may be off."""


class Settler:
    """Settles in float64 what is in doubt.

    Args:
        network: in eval mode; its weights do not change any more.
    """

    def __init__(self, network: PixelSNAIL) -> None:
        self.network = network
        self._spread: float | None = None

    @cached_property
    def exact(self) -> PixelSNAIL:
        """The network in float64."""
        return copy.deepcopy(self.network).double()

    @torch.inference_mode()
    def settle(
        self, sample: Sample, conditioning: Conditioning, noise: Tensor, options: SamplingOptions, known: Tensor | None
    ) -> Tensor:
        """The codes (B,H,W) that float64 draws, nearly all of which `sample` finds; the other arguments are its own.

        Where float64 draws another one, the picture is drawn anew from there on.
        """
        batch, side = len(noise), self.network.sizes.side
        error = self.error(conditioning, options.guidance_scale)
        codes = torch.zeros(batch, side, side, dtype=torch.int64, device=noise.device)
        known = torch.full_like(codes, UNKNOWN) if known is None else known.clone()
        rows = torch.arange(batch, device=noise.device)
        while len(rows):
            given = conditioning.of_pictures(rows, batch)
            drawn = sample(given, noise[rows], known[rows], error)
            codes[rows] = drawn.codes
            decided = self.decide(given, noise[rows], options, drawn)
            until = _first_other(decided, drawn.codes)
            known[rows] = torch.where(_places(decided) <= until[:, None, None], decided, known[rows])
            rows = rows[until < side * side]
        return codes

    def decide(self, conditioning: Conditioning, noise: Tensor, options: SamplingOptions, drawn: Drawn) -> Tensor:
        """The codes (B,H,W), those in doubt as float64 draws them given those before.

        One picture after the other, and no more of its rows than that takes: on a GPU attention in float64 holds all
        pairs of positions at once.
        """
        decided, side = drawn.codes.clone(), drawn.codes.shape[2]
        for picture in drawn.in_doubt.flatten(1).any(dim=1).nonzero():  # (1,)
            row, column = drawn.in_doubt[picture[0]].nonzero(as_tuple=True)
            given = conditioning.of_pictures(picture, len(noise)).to(torch.float64)
            before = drawn.codes[picture, : int(row.max()) + 1]
            place = row * side + column
            logits = guided_logits(self.exact, given, before, options.guidance_scale)[place]
            decided[picture, row, column] = draw(logits, noise[picture, place].double(), options)
        return decided

    @torch.inference_mode()
    def redraw(self, conditioning: Conditioning, noise: Tensor, options: SamplingOptions, codes: Tensor) -> Redrawn:
        """What the full forward makes of codes (B,H,W)."""
        logits, flat = guided_logits(self.network, conditioning, codes, options.guidance_scale), noise.flatten(0, 1)
        drawn = draw(logits, flat, options)
        doubts = in_doubt(logits, flat, options, drawn, self.error(conditioning, options.guidance_scale)).view_as(codes)
        drawn, decided = drawn.view_as(codes), self.decide(conditioning, noise, options, Drawn(codes, doubts))
        return Redrawn(torch.where(doubts, decided, drawn), drawn, doubts)

    def error(self, conditioning: Conditioning, guidance_scale: float) -> float:
        """By how much the distance of two guided logits may be off; the network's rounding is measured once."""
        if self._spread is None:
            self._spread = self._measured(conditioning)
        weight = guidance_scale + abs(1 - guidance_scale)
        return MARGIN * 2**0.5 * weight * self._spread + ROUNDED_SUM

    def _measured(self, conditioning: Conditioning) -> float:
        """The standard deviation of a logit's rounding at the worst position of codes drawn by chance."""
        sizes, device = self.network.sizes, self.network.embedding.weight.device
        ends = sorted({0, conditioning.batch_size - 1})  # with guidance, one with its caption and one without
        given = conditioning.of_pictures(torch.tensor(ends, device=device), conditioning.batch_size)
        shape = (given.batch_size, min(sizes.side, MEASURED_ROWS), sizes.side)
        codes = torch.randint(0, sizes.codebook_size, shape, generator=torch.Generator().manual_seed(0)).to(device)
        rounded = guided_logits(self.network, given, codes, 1.0).double()
        off = rounded - guided_logits(self.exact, given.to(torch.float64), codes, 1.0)
        return float(off.std(dim=1, correction=0).max())  # of a position's codes: what all share changes nothing


@torch.inference_mode()
def guided_logits(network: PixelSNAIL, conditioning: Conditioning, codes: Tensor, guidance_scale: float) -> Tensor:
    """Logits (B N,K) at each position of codes (B,H,W), of all rows or the first few, given the codes before it.

    Args:
        conditioning: of B rows, or with guidance of 2B.
    """
    seen = None if conditioning.context is None else conditioning.context[:, : codes.shape[1]]
    doubled = codes.repeat(conditioning.batch_size // len(codes), 1, 1)
    logits = network(doubled, conditioning._replace(context=seen))
    return guide(logits.flatten(2).transpose(1, 2).flatten(0, 1), guidance_scale)


def _places(codes: Tensor) -> Tensor:
    """Where each position stands in raster order, (H,W)."""
    return torch.arange(codes[0].numel(), device=codes.device).view_as(codes[0])


def _first_other(codes: Tensor, others: Tensor) -> Tensor:
    """The first position at which the codes (B,H,W) of two differ, (B,); behind the last one where they do not."""
    return torch.where(codes != others, _places(codes), codes[0].numel()).flatten(1).amin(dim=1)
