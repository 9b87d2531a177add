"""Fitting a module from wherever an earlier call stopped.

The batches of step s depend on the seed and s alone, so a stopped run goes on exactly where it would have been.
"""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from stages.config.precision import Precision
from stages.training.batches import Batches
from stages.training.callbacks import (
    LOG_EVERY_STEPS,
    AveragedWeights,
    Best,
    KeepBest,
    OwnRandomness,
    Progress,
    Resumable,
    SlowWeights,
    ValidationAtTheEnd,
    random_state,
    set_random_state,
)
from stages.training.curves import Curves
from stages.training.memory import freed_memory_kept
from stages.training.precision import precision_plugin

GRADIENT_CLIP = 1.0  # norm of all gradients together


def fit(
    module: pl.LightningModule,
    train: Batches,
    val: Iterable[Any] | None,
    *,
    max_steps: int,
    val_every: int,
    scratch: Path,
    desc: str,
    accumulate: int = 1,
    ema_decay: float | None = None,
    best: Best | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains `module` in place for at most `max_steps` optimiser steps.

    Goes on from `scratch` when an earlier call was stopped (weights, optimiser, schedule, random state, data order);
    when it had ended, returns at once, with the trained weights loaded and the random state that the training left.
    Values logged with `self.log` go to `scratch/curves.jsonl`, one `{"fit", "step", name: value, ...}` a line.

    Args:
        val: batches for `validation_step`, run every `val_every` steps and after the last; None for none.
        desc: what the progress bar says; also the name of the checkpoint.
        accumulate: batches of `train` whose mean gradient one step takes, for a large batch in little memory: equal to
            batches that many times as large where the loss is a mean over rows. All else counts steps; of the values
            that a training step logs, those of its last batch are kept.
        ema_decay: publish the exponential moving average of the weights with this decay; None for the weights (with
            Lookahead the slow ones).
        best: publish the weights of the best validation; None for those of the last step. Needs `val`.
        precision: of products and convolutions in training and validation (autocast); the weights are float32.

    Raises:
        Interrupted: the process was asked to stop (Ctrl-C); the last step is saved.
        StageError: the loss is not finite.
    """
    files = _Files(scratch, desc.replace(" ", "-"))
    if files.finished.is_file():
        _take_up(module, torch.load(files.finished, weights_only=True))
        return
    start_step = files.step_reached()
    train.start = start_step * accumulate
    every = None if val is None else min(val_every, max_steps)
    callbacks = _callbacks(files, max_steps, every, ema_decay, best if val is not None else None)
    curves = Curves(scratch / "curves.jsonl", files.name, start_step)
    trainer = _trainer(callbacks, curves, max_steps, every, accumulate, precision)
    _run(trainer, module, train, val, files.checkpoint if start_step else None)
    ended = files.ended(module, ended_before=start_step >= max_steps)
    _take_up(module, ended)
    files.finish(ended)


def _take_up(module: pl.LightningModule, ended: dict[str, Any]) -> None:
    """Leaves module and random state as the end of a fit does: what is trained next is as if there had been no stop."""
    module.load_state_dict(ended["weights"])
    set_random_state(ended["random_state"])
    module.eval()


def _run(
    trainer: pl.Trainer, module: pl.LightningModule, train: Batches, val: Iterable[Any] | None, checkpoint: Path | None
) -> None:
    """Trains to the end, from a checkpoint where there is one."""
    with _quiet(), freed_memory_kept():
        trainer.fit(
            module,
            DataLoader(train, batch_size=None),
            None if val is None else DataLoader(_Listed(val), batch_size=None),
            ckpt_path=None if checkpoint is None else str(checkpoint),
            weights_only=True,
        )


class _Files:
    """What a fit keeps in its scratch folder."""

    def __init__(self, scratch: Path, name: str) -> None:
        self.name = name
        self.finished, self.checkpoint = scratch / f"{name}.ended.pt", scratch / f"{name}.ckpt"
        self.best = scratch / f"{name}.best.ckpt"

    def step_reached(self) -> int:
        """Optimiser steps done by earlier calls."""
        if not self.checkpoint.is_file():
            return 0
        return int(torch.load(self.checkpoint, weights_only=True, map_location="cpu", mmap=True)["global_step"])

    def ended(self, module: pl.LightningModule, *, ended_before: bool) -> dict[str, Any]:
        """The `weights` that are to be published, and the `random_state` that training has left.

        Args:
            module: as the fit has left it.
            ended_before: an earlier call was stopped after the last step, which Lightning takes for nothing to do: the
                end is in the checkpoint alone.
        """
        weights, state = module.state_dict(), random_state()
        if ended_before:
            last = self._load(self.checkpoint)
            weights, state = last["state_dict"], last["random_state"]
        if self.best.is_file():
            weights = self._load(self.best)["state_dict"]
        return {"weights": weights, "random_state": state}

    @staticmethod
    def _load(path: Path) -> dict[str, Any]:
        loaded: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        return loaded

    def finish(self, ended: dict[str, Any]) -> None:
        """Keeps the weights and the random state, and nothing else of the fit."""
        temporary = self.finished.with_suffix(".partial")
        torch.save(ended, temporary)
        os.replace(temporary, self.finished)
        self.checkpoint.unlink(missing_ok=True)
        self.best.unlink(missing_ok=True)


def _callbacks(
    files: _Files, max_steps: int, val_every: int | None, ema_decay: float | None, best: Best | None
) -> list[pl.Callback]:
    """In the order in which they act: what is saved must be up to date when it is saved."""
    callbacks = [Progress(files.name, max_steps), OwnRandomness(), ValidationAtTheEnd()]
    if ema_decay is not None:
        callbacks.append(AveragedWeights(ema_decay))
    else:
        callbacks.append(SlowWeights())
    if best is not None:
        callbacks.append(KeepBest(best, files.best))
    return [*callbacks, Resumable(files.checkpoint, val_every)]


def _trainer(
    callbacks: list[pl.Callback],
    curves: Curves,
    max_steps: int,
    val_every: int | None,
    accumulate: int,
    precision: Precision,
) -> pl.Trainer:
    for noisy in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return pl.Trainer(
        max_steps=max_steps,
        max_epochs=-1,
        callbacks=callbacks,
        logger=curves,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0 if val_every is None else 1.0,
        accumulate_grad_batches=accumulate,
        val_check_interval=None if val_every is None else val_every * accumulate,  # in batches
        check_val_every_n_epoch=None,
        log_every_n_steps=min(LOG_EVERY_STEPS, max_steps),
        gradient_clip_val=GRADIENT_CLIP,
        plugins=[precision_plugin(precision)],
        default_root_dir=str(curves.path.parent),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*num_workers.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        yield


class _Listed(IterableDataset[Any]):
    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)
