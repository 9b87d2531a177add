"""Sampling from PixelSNAIL with each position computed once.

The public loop runs the whole network for every position. Here what later positions read again is kept: by compiled
code on a processor (`compiled/`), by torch elsewhere (`cached.py`). The codes are those of the full forward for the
same noise, all of them (`settling.py`): `sample_by_full_forward` is kept as the yardstick.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from stages.config.samples import SamplingOptions
from stages.prior.cached import CachedForward, at, captured
from stages.prior.compiled import CompiledSampler
from stages.prior.doubt import in_doubt
from stages.prior.drawing import UNKNOWN, Drawn, draw, guide
from stages.prior.pixelsnail import Conditioning, PixelSNAIL
from stages.prior.settling import Settler


@contextmanager
def convolving_in_float32() -> Iterator[None]:
    """Inside, a GPU convolves in float32, as it multiplies matrices. By itself it rounds to TF32, and codes change."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Sampler:
    """Draws grids of codes from a network whose weights do not change any more.

    Args:
        network: in eval mode.
    """

    def __init__(self, network: PixelSNAIL) -> None:
        self.network = network
        weight = network.embedding.weight
        on_processor = weight.device.type == "cpu" and weight.dtype == torch.float32
        self.compiled = CompiledSampler(network) if on_processor else None
        self.settler = Settler(network)

    @convolving_in_float32()
    def sample(
        self, conditioning: Conditioning, noise: Tensor, options: SamplingOptions, known: Tensor | None = None
    ) -> Tensor:
        """Draws a grid of codes for each row of noise.

        Args:
            conditioning: of B rows, or with guidance of 2B: the captioned ones, then the same without caption.
            noise: (B,HW,K) from `gumbel_noise`, on the network's device as all tensors here.
            known: (B,H,W) int64, codes that are kept, `UNKNOWN` where one is drawn. A code is drawn from what lies
                before it in raster order: kept codes below and to the right cannot be looked at.

        Returns:
            (B,H,W) int64.

        Raises:
            ValueError: rows, positions or codes do not fit together.
        """
        self._check(conditioning, noise, options, known)

        def sample(conditioning: Conditioning, noise: Tensor, known: Tensor, error: float) -> Drawn:
            if self.compiled is not None:
                return self.compiled.sample(conditioning, noise, options, known, error)
            return sample_by_cached_forward(self.network, conditioning, noise, options, known, error)

        return self.settler.settle(sample, conditioning, noise, options, known)

    def _check(self, conditioning: Conditioning, noise: Tensor, options: SamplingOptions, known: Tensor | None) -> None:
        sizes, batch = self.network.sizes, len(noise)
        if noise.shape[1:] != (sizes.side**2, sizes.codebook_size) or not batch:
            raise ValueError(
                f"noise must be (B,{sizes.side**2},{sizes.codebook_size}) with B at least 1, got {tuple(noise.shape)}"
            )
        rows = batch if options.guidance_scale == 1 else 2 * batch
        if conditioning.batch_size != rows:
            raise ValueError(f"conditioning must be of {rows} rows, got {conditioning.batch_size}")
        if known is not None and known.shape != (batch, sizes.side, sizes.side):
            raise ValueError(f"known must be ({batch},{sizes.side},{sizes.side}), got {tuple(known.shape)}")
        if known is not None and not ((known >= UNKNOWN) & (known < sizes.codebook_size)).all():
            raise ValueError(f"known codes must be in [0,{sizes.codebook_size}), or {UNKNOWN} where one is drawn")


@torch.inference_mode()
@convolving_in_float32()
def sample_by_cached_forward(
    network: PixelSNAIL,
    conditioning: Conditioning,
    noise: Tensor,
    options: SamplingOptions,
    known: Tensor,
    error: float,
) -> Drawn:
    """The same codes by torch's operators, on the network's device; on a GPU a step is a CUDA graph.

    Args:
        error: by how much the distance of two guided logits may be off, which tells what is in doubt.
    """
    steps, side = CachedForward(network, conditioning), network.sizes.side
    place = steps.place
    codes = torch.zeros(len(noise), side * side, dtype=torch.int64, device=noise.device)
    doubts, kept = torch.zeros_like(codes, dtype=torch.bool), known.flatten(1)

    def draw_code() -> None:
        logits, here = guide(steps.logits(), options.guidance_scale), at(noise, place.flat)
        given = at(kept, place.flat)
        drawn = draw(logits, here, options)
        doubt = in_doubt(logits, here, options, drawn, error) & (given == UNKNOWN)
        drawn = torch.where(given == UNKNOWN, drawn, given)
        codes.index_copy_(1, place.flat, drawn[:, None])
        doubts.index_copy_(1, place.flat, doubt[:, None])
        steps.remember(drawn)

    begin_row, draw_code_again = captured(steps.begin_row, noise.device), captured(draw_code, noise.device)
    for row in range(side):
        place.move_to(row, 0)
        begin_row()
        for column in range(side):
            place.move_to(row, column)
            draw_code_again()
    return Drawn(codes.unflatten(1, (side, side)), doubts.unflatten(1, (side, side)))


@torch.inference_mode()
@convolving_in_float32()
def sample_by_full_forward(
    network: PixelSNAIL,
    conditioning: Conditioning,
    noise: Tensor,
    options: SamplingOptions,
    known: Tensor | None = None,
) -> Tensor:
    """The same codes by the public loop's way, one forward of the whole grid for each position. Slow; for tests."""

    side, doubling, settler = network.sizes.side, conditioning.batch_size // len(noise), Settler(network)
    error = settler.error(conditioning, options.guidance_scale)
    codes = torch.zeros(len(noise), side, side, dtype=torch.int64, device=noise.device)
    known = torch.full_like(codes, UNKNOWN) if known is None else known
    for row in range(side):
        for column in range(side):
            logits = network(codes.repeat(doubling, 1, 1), conditioning)[:, :, row, column]
            logits, here = guide(logits, options.guidance_scale), noise[:, row * side + column]
            drawn, given = draw(logits, here, options), known[:, row, column]
            codes[:, row, column] = torch.where(given == UNKNOWN, drawn, given)
            doubts = torch.zeros_like(codes, dtype=torch.bool)
            doubts[:, row, column] = in_doubt(logits, here, options, drawn, error) & (given == UNKNOWN)
            codes = settler.decide(conditioning, noise, options, Drawn(codes, doubts))
    return codes
