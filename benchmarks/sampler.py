"""The cached sampler against the public loop: the same weights, one forward over rows 0..i for each position (i, j)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import compare
from stages.config.samples import SamplingOptions
from stages.prior.captions import Captions
from stages.prior.pixelsnail import Conditioning, PixelSNAIL, PixelSNAILSizes
from stages.prior.sampler import draw, gumbel_noise, sample

OPTIONS = SamplingOptions()
CASES = (  # side, context side, attention, batch
    (8, 0, True, 1),
    (8, 0, True, 32),
    (16, 8, False, 1),
    (16, 8, False, 32),
    (16, 0, True, 1),
)


def cases() -> Iterator[dict[str, Any]]:
    """512 codes, channel 64, 4 blocks of 4 residual blocks, kernel 5."""
    for side, context_side, attention, batch in CASES:
        torch.manual_seed(0)
        sizes = PixelSNAILSizes(side, 512, 64, 64, 5, 4, 4, 64, attention, context_side, 3, 1, 4, 0.0, "tokens")
        network = PixelSNAIL(sizes).eval().requires_grad_(False)
        context = torch.randint(0, 512, (batch, context_side, context_side)) if context_side else None
        mask, codes = torch.ones(batch, 20, dtype=torch.bool), torch.zeros(batch, 8, dtype=torch.int64)
        captions = Captions(torch.randn(batch, 20, 64), mask, torch.randn(batch, 64), codes)
        conditioning = network.condition(captions, context)
        noise = gumbel_noise(list(range(batch)), side * side, 512)
        settings = {"side": side, "context_side": context_side, "self_attention": attention, "batch": batch}
        yield compare(
            settings,
            lambda n=network, c=conditioning, z=noise: sample(n, c, z, OPTIONS),  # type: ignore[misc]
            lambda n=network, c=conditioning, z=noise: sample_by_rows(n, c, z),  # type: ignore[misc]
            repeats=1 if side > 8 else 3,
        )


@torch.inference_mode()
def sample_by_rows(network: PixelSNAIL, conditioning: Conditioning, noise: Tensor) -> Tensor:
    """The public loop: nothing cached but the conditioning; rows below the one being drawn are left out."""
    side = network.sizes.side
    codes = torch.zeros(len(noise), side, side, dtype=torch.int64)
    for row in range(side):
        seen = None if conditioning.context is None else conditioning.context[:, : row + 1]
        for column in range(side):
            logits = network(codes[:, : row + 1], conditioning._replace(context=seen))[:, :, row, column]
            codes[:, row, column] = draw(logits, noise[:, row * side + column], OPTIONS)
    return codes
