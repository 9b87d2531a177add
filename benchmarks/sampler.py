"""The cached sampler against the public loop: the same weights, one forward over rows 0..i for each position (i, j).

The public loop runs the network in the public style. Our own network, which is faster, in that loop is the stricter
reference: what is left is owed to the sampler alone. The floor, one forward of the batch, is measured of both as well.

In the public loop all positions of a row cost the same, and at the larger grids it takes minutes: there one position of
each row is run and its time multiplied by the row's length, once libraries have chosen their kernels for rows of that
number in a pass that does not count. At 8x8 the loop is run as it is.
"""

import math
import time
from collections.abc import Iterator
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.public import in_public_style
from benchmarks.timing import compare, compare_seconds, median_seconds, seconds_of
from stages.config.samples import SamplingOptions
from stages.prior.captions import Captions
from stages.prior.drawing import draw, gumbel_noise
from stages.prior.pixelsnail import PixelSNAIL, PixelSNAILSizes
from stages.prior.sampler import Sampler

OPTIONS = SamplingOptions()
CODES, TEXT_WIDTH, TOKENS = 512, 64, 20


class Grid(NamedTuple):
    """A network of 4 blocks of 4 residual blocks, kernel 5, over such a grid."""

    side: int
    context_side: int
    self_attention: bool
    channels: int = 64


GRIDS = (Grid(8, 0, True), Grid(16, 8, False), Grid(16, 0, True), Grid(32, 0, True))
WIDE = (Grid(8, 0, True, 256), Grid(16, 8, False, 256))
BATCHES = (1, 8, 32)
PAIR = (Grid(8, 0, True), Grid(16, 8, False))
GROWTH = (8, 16, 32, 64)


class Task:
    """A batch of grids to be drawn from an untrained network, which costs what a trained one does.

    Its logits are spread by two nats: of level ones none would ever be in doubt.
    """

    def __init__(self, grid: Grid, batch: int, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.grid, self.batch, self.device = grid, batch, torch.device(device)
        self.network = PixelSNAIL(sizes_of(grid)).eval().requires_grad_(False).to(self.device)
        torch.nn.init.normal_(self.network.out[1].weight, std=2 / grid.channels**0.5)  # type: ignore[arg-type]
        self.sampler = Sampler(self.network)
        context = random_context(grid, batch)
        context = None if context is None else context.to(self.device)
        self.conditioning = self.network.condition(random_captions(batch).to(self.device), context)
        self.noise = gumbel_noise(list(range(batch)), grid.side**2, CODES).to(self.device)

    @property
    def settings(self) -> dict[str, Any]:
        """What names the case."""
        return self.grid._asdict() | {"batch": self.batch}

    @cached_property
    def public(self) -> PixelSNAIL:
        """The same weights in the public style."""
        return in_public_style(self.network)

    def sample(self) -> Tensor:
        """Ours: codes (B,H,W)."""
        return self._finished(self.sampler.sample(self.conditioning, self.noise, OPTIONS))

    @torch.inference_mode()
    def loop(self, network: PixelSNAIL) -> Tensor:
        """The public loop: nothing cached but the conditioning; rows below the one being drawn are left out."""
        side = self.grid.side
        codes = self._no_codes()
        for row in range(side):
            for column in range(side):
                codes[:, row, column] = self._loop_position(network, codes, row, column)
        return self._finished(codes)

    @torch.inference_mode()
    def loop_seconds(self, network: PixelSNAIL) -> float:
        """What that loop takes: at 8x8 as it is, beyond by one position of each row."""
        if self.grid.side == 8:
            return seconds_of(partial(self.loop, network))
        codes, seconds = self._no_codes(), 0.0
        for row in range(self.grid.side):
            started = time.perf_counter()
            self._finished(self._loop_position(network, codes, row, 0))
            seconds += (time.perf_counter() - started) * self.grid.side
        return seconds

    def _loop_position(self, network: PixelSNAIL, codes: Tensor, row: int, column: int) -> Tensor:
        """(B,) codes drawn at a position."""
        context = self.conditioning.context
        seen = self.conditioning._replace(context=None if context is None else context[:, : row + 1])
        logits = network(codes[:, : row + 1], seen)[:, :, row, column]
        return draw(logits, self.noise[:, row * self.grid.side + column], OPTIONS)

    @torch.inference_mode()
    def forward(self, network: PixelSNAIL) -> Tensor:
        """One teacher-forced forward of the batch, (B,K,H,W): no sampler of this network can do with much less."""
        return self._finished(network(self._no_codes(), self.conditioning))

    def _no_codes(self) -> Tensor:
        return torch.zeros(self.batch, self.grid.side, self.grid.side, dtype=torch.int64, device=self.device)

    def _finished(self, made: Tensor) -> Tensor:
        """What a GPU still had to do, done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return made


def cases() -> Iterator[dict[str, Any]]:
    """The loop at each grid and batch; the published width; a pair of levels; the floor; how time grows."""
    for grid in GRIDS:
        for batch in BATCHES:
            yield from _against_loop([Task(grid, batch)])
    for grid in WIDE:
        yield from _against_loop([Task(grid, 32)])
    yield from _against_loop([Task(grid, 32) for grid in PAIR])
    for grid in (Grid(16, 8, False), Grid(16, 0, True), Grid(32, 0, True)):
        task = Task(grid, 32)
        for style, network in (("in the public style", task.public), ("of our own network", task.network)):
            settings = task.settings | {"against": f"one teacher-forced forward {style}"}
            yield compare(settings, task.sample, partial(task.forward, network), repeats=3)
    for batch in (1, 32):
        yield from _growth(batch)


def _against_loop(tasks: list[Task]) -> Iterator[dict[str, Any]]:
    """Levels one after the other, against both networks."""
    first = tasks[0].settings if len(tasks) == 1 else {"levels": [task.settings for task in tasks]}
    for against, networks in (
        ("the public loop", [task.public for task in tasks]),
        ("that loop over our own network", [task.network for task in tasks]),
    ):
        case = compare_seconds(
            first | {"against": against},
            partial(seconds_of, partial(_sample, tasks)),
            partial(_loop_seconds, tasks, networks),
            repeats=3,
        )
        yield case | {"ours_ms_per_picture": 1e3 * case["ours_s"] / tasks[0].batch}


def _sample(tasks: list[Task]) -> None:
    for task in tasks:
        task.sample()


def _loop_seconds(tasks: list[Task], networks: list[PixelSNAIL]) -> float:
    return sum(task.loop_seconds(network) for task, network in zip(tasks, networks, strict=True))


def _growth(batch: int) -> Iterator[dict[str, Any]]:
    """Seconds at each side against those at half the side; the exponent of the side with which they grow."""
    seconds = {
        side: median_seconds(Task(Grid(side, 0, True), batch).sample, repeats=1 if side > 32 else 3) for side in GROWTH
    }
    for half, side in pairwise(GROWTH):
        settings = {"side": side, "self_attention": True, "batch": batch, "against": "half the side"}
        ratio = seconds[half] / seconds[side]
        case = {"settings": settings, "ours_s": seconds[side], "reference_s": seconds[half], "ratio": ratio}
        yield case | {"exponent": -math.log2(ratio)}


def sizes_of(grid: Grid) -> PixelSNAILSizes:
    """Of the network over such a grid."""
    return PixelSNAILSizes(
        side=grid.side,
        codebook_size=CODES,
        text_width=TEXT_WIDTH,
        channels=grid.channels,
        kernel=5,
        blocks=4,
        residual_blocks=4,
        residual_channels=grid.channels,
        self_attention=grid.self_attention,
        context_side=grid.context_side,
        context_blocks=3,
        text_layers=1,
        heads=4,
        dropout=0.0,
        weight_norm=False,
        text="tokens",
    )


def random_captions(batch: int) -> Captions:
    """As many as are asked for, of `TOKENS` tokens each."""
    mask, codes = torch.ones(batch, TOKENS, dtype=torch.bool), torch.zeros(batch, 8, dtype=torch.int64)
    return Captions(torch.randn(batch, TOKENS, TEXT_WIDTH), mask, torch.randn(batch, TEXT_WIDTH), codes)


def random_context(grid: Grid, batch: int) -> Tensor | None:
    """Codes of the level above, where the grid has one."""
    side = grid.context_side
    return torch.randint(0, CODES, (batch, side, side)) if side else None
