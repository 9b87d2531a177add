"""Training PixelSNAIL against the same network in the style of the public code, on grids of random codes.

The reference has a weight norm on every causal convolution, whose weights outside the window are set to zero before
each use, attention by a boolean mask and a softmax, and Adam weight by weight. Its loss curve is the same: the last
losses are in the result.
"""

import copy
import dataclasses
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from benchmarks.timing import compare
from stages.config.precision import Precision
from stages.config.prior import LevelConfig, PriorConfig
from stages.prior.captions import Captions
from stages.prior.module import CodeBatch, PriorModule
from stages.prior.pixelsnail import Attention, CausalConv2d, PixelSNAIL, PixelSNAILSizes
from stages.training import Batches, fit

CODES, TEXT_WIDTH, TOKENS, BATCH = 512, 64, 20, 32


class Case(NamedTuple):
    """A grid, its attention, and in which precision ours is trained."""

    side: int
    context_side: int
    precision: Precision

    @property
    def steps(self) -> int:
        """Of a training, so many that its start does not count."""
        return 640 // self.side**2 * 4


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
        c = 64
        sizes = (case.side, CODES, TEXT_WIDTH, c, 5, 4, 4, c, True, case.context_side, 3, 1, 4, 0.0, "tokens")
        self.network = PixelSNAIL(PixelSNAILSizes(*sizes))
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


def in_public_style(network: PixelSNAIL) -> PixelSNAIL:
    """A copy of the same weights whose convolutions and attentions are those of the public code."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, CausalConv2d):
                setattr(module, name, PublicConv(child))
            elif isinstance(child, Attention):
                setattr(module, name, PublicAttention(child))
    return network


class PublicConv(nn.Module):
    """A causal convolution with a weight norm, masked by setting weights to zero."""

    def __init__(self, conv: CausalConv2d) -> None:
        super().__init__()
        self.reach, self.behind = conv.reach, conv.reach + (0 if conv.strict else 1)
        inner = nn.Conv2d(conv.conv.in_channels, conv.conv.out_channels, conv.conv.kernel_size)  # type: ignore[arg-type]
        inner.load_state_dict({"weight": conv.weight(), "bias": conv.conv.bias})
        self.conv = weight_norm(inner)

    def forward(self, x: Tensor) -> Tensor:
        """(B,H,W,I) -> (B,H,W,O)."""
        self.conv.parametrizations.weight.original1.data[:, :, -1, self.behind :].zero_()
        padded = F.pad(x.movedim(-1, 1), (self.reach, self.reach, self.reach, 0))
        out: Tensor = self.conv(padded).movedim(1, -1)
        return out


class PublicAttention(Attention):
    """Attention by a boolean mask and a softmax."""

    def __init__(self, attention: Attention) -> None:
        nn.Module.__init__(self)
        self.heads = attention.heads
        for name, child in attention.named_children():
            setattr(self, name, child)

    def causal(self, x: Tensor) -> Tensor:
        """(B,N,C) -> (B,N,C)."""
        normed, n = self.norm(x), x.shape[1]
        return self._attend(x, normed, normed, torch.tril(torch.ones(n, n, dtype=torch.bool)))

    def cross(self, x: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """(B,N,C) over (B,M,C), mask (B,M) bool -> (B,N,C)."""
        return self._attend(x, self.norm(x), source, mask[:, None, None, :])

    def _attend(self, x: Tensor, normed: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        query, (key, value) = self.query(normed), self.key_value(source)
        scores = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).masked_fill(~mask, -1e4)
        out: Tensor = self.to_out((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))
        return x + out


def _batch(case: Case) -> CodeBatch:
    grid = torch.randint(0, CODES, (BATCH, case.side, case.side))
    context = torch.randint(0, CODES, (BATCH, case.context_side, case.context_side)) if case.context_side else None
    mask, codes = torch.ones(BATCH, TOKENS, dtype=torch.bool), torch.zeros(BATCH, 8, dtype=torch.int64)
    captions = Captions(torch.randn(BATCH, TOKENS, TEXT_WIDTH), mask, torch.randn(BATCH, TEXT_WIDTH), codes)
    return CodeBatch(grid, context, captions)
