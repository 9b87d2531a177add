"""Training PixelSNAIL against the same network in the style of the public code, on grids of codes that can be learnt.

The reference is trained by a plain loop with Adam weight by weight, in float32 whichever precision ours is trained in;
it averages no weights, which ours does as stage `prior` does. It has a weight norm, as public code has. Where ours has
one too they are the same network, and in float32 their losses fall as one: those of every step are in the result, and
how far they are apart at most. Without one, as `configs/demo.yaml` has it, ours starts as the same function and learns
along another way.
"""

import copy
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.public import in_public_style
from benchmarks.sampler import CODES, Grid, random_captions, random_context, sizes_of
from benchmarks.timing import compare
from stages.config.precision import Precision
from stages.config.prior import LevelConfig, PriorConfig
from stages.prior.module import CodeBatch, PriorModule
from stages.prior.pixelsnail import PixelSNAIL
from stages.training import Batches, fit
from stages.training.precision import multiplies_bfloat16

BATCH = 32
REPEATED = 0.7
"""Share of the codes that are those of their left neighbours."""


class Case(NamedTuple):
    """A grid, its attention, and in which precision ours is trained."""

    side: int
    context_side: int
    precision: Precision
    weight_norm: bool = True
    """Of ours."""

    @property
    def grid(self) -> Grid:
        """That of `sampler`."""
        return Grid(self.side, self.context_side, self_attention=True)

    @property
    def steps(self) -> int:
        """Of a training, so many that its start does not count."""
        return 1280 // self.side**2 * 3


CASES = (
    Case(8, 0, "float32"),
    Case(8, 0, "float32", weight_norm=False),
    Case(8, 0, "bfloat16"),
    Case(16, 0, "float32"),
    Case(16, 0, "bfloat16"),
    Case(16, 8, "float32"),
    Case(16, 8, "bfloat16"),
)


def cases() -> Iterator[dict[str, Any]]:
    """512 codes, channel 64, 4 blocks of 4 residual blocks with self-attention, kernel 5, batch 32."""
    for case in CASES:
        if case.precision == "bfloat16" and not multiplies_bfloat16("cpu"):
            continue  # it would be the float32 case again
        task = Task(case)
        settings = case._asdict() | {"batch": BATCH, "steps": case.steps}
        timed = compare(settings, task.train_ours, task.train_reference, repeats=3)
        steps = {f"{who}_steps_per_s": case.steps / timed[f"{who}_s"] for who in ("ours", "reference")}
        yield timed | steps | task.compare_losses()


class Task:
    """A network and a few batches of codes."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.config = dataclasses.replace(
            PriorConfig(),
            caption_dropout=0.0,
            weight_decay=0.0,  # public code has none, and its gains would decay, which ours do not
            precision=case.precision,
        )
        self.network = PixelSNAIL(dataclasses.replace(sizes_of(case.grid), weight_norm=case.weight_norm))
        self.level = LevelConfig(max_steps=case.steps)
        self.batches = [_batch(case) for _ in range(2)]
        self.losses: dict[str, list[float]] = {}

    def train_ours(self) -> None:
        """A fresh copy, as stage `prior` trains it."""
        module = Recorded(copy.deepcopy(self.network), self.level, self.config)
        train(module, self.batches)
        self.losses["ours"] = module.losses

    def train_reference(self) -> None:
        """A fresh copy in the public style, with the same weights."""
        module = Recorded(in_public_style(self.network), self.level, self.config)
        loop(module, self.batches)
        self.losses["reference"] = module.losses

    def compare_losses(self) -> dict[str, Any]:
        """Both curves, bits per code at each step, and the largest difference between them."""
        gaps = [abs(ours - other) for ours, other in zip(*self.losses.values(), strict=True)]
        return {f"{who}_losses": losses for who, losses in self.losses.items()} | {"largest_loss_gap": max(gaps)}


class Recorded(PriorModule):
    """Keeps the loss of every step, bits per code."""

    def __init__(self, network: nn.Module, level: LevelConfig, config: PriorConfig) -> None:
        super().__init__(network, level, config)  # type: ignore[arg-type]
        self.losses: list[float] = []

    def _step(self, batch: CodeBatch) -> Tensor:
        loss = super()._step(batch)
        self.losses.append(loss.item())
        return loss


def train(module: PriorModule, batches: list[CodeBatch]) -> None:
    """As stage `prior` trains, without validation."""
    source = Batches(lambda rows: batches[int(rows[0])], len(batches), 1, seed=0)
    with tempfile.TemporaryDirectory() as scratch:
        fit(
            module,
            source,
            None,
            max_steps=module.level.max_steps,
            val_every=module.level.max_steps,
            scratch=Path(scratch),
            desc="prior",
            ema_decay=module.config.ema_decay,
            precision=module.config.precision,
        )


def loop(module: PriorModule, batches: list[CodeBatch]) -> None:
    """A plain loop with the same schedule over the same batches."""
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    for group in optimizer.param_groups:
        group.update(fused=False, foreach=False)
    source = iter(Batches(lambda rows: batches[int(rows[0])], len(batches), 1, seed=0))
    for _ in range(module.level.max_steps):
        optimizer.zero_grad()
        loss = module._step(next(source))
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _batch(case: Case) -> CodeBatch:
    """Codes of which few are frequent, each often that of its left neighbour: so much a few steps can learn."""
    frequencies = 1 / torch.arange(1, CODES + 1)
    drawn = torch.multinomial(frequencies.expand(BATCH * case.side, CODES), case.side, replacement=True)
    codes = drawn.view(BATCH, case.side, case.side)
    for column in range(1, case.side):
        repeated = torch.rand(BATCH, case.side) < REPEATED
        codes[:, :, column] = torch.where(repeated, codes[:, :, column - 1], codes[:, :, column])
    return CodeBatch(codes, random_context(case.grid, BATCH), random_captions(BATCH))
