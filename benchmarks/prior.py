"""Training PixelSNAIL against the same network in the style of the public code, on grids of random codes.

The reference is trained by a plain loop with Adam weight by weight, in float32 whichever precision ours is trained in.
Its loss falls as ours does, though its weights are normed otherwise: the last losses of both are in the result.
"""

import copy
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

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


class Case(NamedTuple):
    """A grid, its attention, and in which precision ours is trained."""

    side: int
    context_side: int
    precision: Precision

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
        yield timed | steps | {f"{who}_last_loss": loss for who, loss in task.last_losses.items()}


class Task:
    """A network and a few batches of random codes."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.config = dataclasses.replace(PriorConfig(), caption_dropout=0.0, precision=case.precision)
        self.network = PixelSNAIL(sizes_of(case.grid))
        self.level = LevelConfig(max_steps=case.steps)
        self.batches = [_batch(case) for _ in range(2)]
        self.last_losses: dict[str, float] = {}

    def train_ours(self) -> None:
        """A fresh copy, as stage `prior` trains it."""
        self.last_losses["ours"] = train(
            PriorModule(copy.deepcopy(self.network), self.level, self.config), self.batches
        )

    def train_reference(self) -> None:
        """A fresh copy in the public style, with the same weights."""
        module = PriorModule(in_public_style(self.network), self.level, self.config)
        self.last_losses["reference"] = loop(module, self.batches)


def train(module: PriorModule, batches: list[CodeBatch]) -> float:
    """As stage `prior` trains, without validation; the loss after the last step, bits per code."""
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
            precision=module.config.precision,
        )
    with torch.no_grad():
        return float(module._step(batches[0]))


def loop(module: PriorModule, batches: list[CodeBatch]) -> float:
    """A plain loop with the same schedule over the same batches; the loss after the last step, bits per code."""
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
        loss.item()
    with torch.no_grad():
        return float(module._step(batches[0]))


def _batch(case: Case) -> CodeBatch:
    codes = torch.randint(0, CODES, (BATCH, case.side, case.side))
    return CodeBatch(codes, random_context(case.grid, BATCH), random_captions(BATCH))
