"""The one way a LightningModule is fitted: resumable to the bit, with a progress bar, its curves kept.

The batch of step s depends on the seed and s alone, so a run that was stopped goes on exactly where it would have been.
"""

import json
import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from stages.errors import Interrupted, StageError

CHECKPOINT_EVERY_STEPS = 100
LOG_EVERY_STEPS = 10


class Batches(IterableDataset[Any]):
    """Endless batches; which rows the batch of step s holds is a pure function of (seed, s).

    Every row is drawn once per epoch, in an order of its own for each epoch; a batch may straddle two epochs, so each
    has exactly `batch_size` rows, also when there are fewer rows than that.

    Args:
        make_batch: row numbers (int64, (batch_size,)) -> the batch.
        count: number of rows.
    """

    def __init__(self, make_batch: Callable[[np.ndarray], Any], count: int, batch_size: int, seed: int) -> None:
        if count < 1:
            raise StageError("there is nothing to train on: the train split is empty; check `data`")
        self.make_batch, self.count, self.batch_size, self.seed = make_batch, count, batch_size, seed
        self.start_step = 0

    def rows(self, step: int) -> np.ndarray:
        """Row numbers of the batch of a step, int64 (batch_size,)."""
        wanted = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = wanted // self.count, wanted % self.count
        rows = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            order = np.random.default_rng((self.seed, int(epoch))).permutation(self.count)
            rows[epochs == epoch] = order[places[epochs == epoch]]
        return rows

    def __iter__(self) -> Iterator[Any]:
        step = self.start_step
        while True:
            yield self.make_batch(self.rows(step))
            step += 1


class Sweep:
    """Every row once, in batches, as often as it is gone through: for validating and measuring.

    Args:
        make_batch: row numbers (int64, (b,)) -> the batch.
        count: number of rows.
        mixed: go through the rows in a fixed random order, so that neighbours are of different kinds.
    """

    def __init__(
        self, make_batch: Callable[[np.ndarray], Any], count: int, batch_size: int, mixed: bool = False
    ) -> None:
        self.make_batch, self.batch_size = make_batch, batch_size
        self.order = np.random.default_rng(0).permutation(count) if mixed else np.arange(count)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self.order), self.batch_size):
            yield self.make_batch(self.order[start : start + self.batch_size])


def fit(
    module: pl.LightningModule,
    train: Batches,
    val: Iterable[Any] | None,
    *,
    max_steps: int,
    val_every: int,
    scratch: Path,
    desc: str,
    ema_decay: float | None = None,
    gradient_clip: float | None = 1.0,
) -> None:
    """Trains `module` in place for `max_steps` optimiser steps.

    Goes on from `scratch` when an earlier call was stopped (weights, optimiser, schedule, random state, data order);
    returns at once, with the trained weights loaded, when it had ended. Values logged with `self.log` are appended to
    `scratch/curves.jsonl`, one `{"fit", "step", name: value, ...}` a line.

    Args:
        val: batches for `validation_step`, run every `val_every` steps and after the last; None for none.
        desc: what the progress bar says; also the name of the checkpoint.
        ema_decay: publish the exponential moving average of the weights with this decay; None for the weights.

    Raises:
        Interrupted: the process was asked to stop (Ctrl-C); the last step is saved.
        StageError: the loss is not finite.
    """
    name = desc.replace(" ", "-")
    finished, checkpoint = scratch / f"{name}.final.pt", scratch / f"{name}.ckpt"
    if finished.is_file():
        module.load_state_dict(torch.load(finished, weights_only=True))
        module.eval()
        return
    resume = checkpoint if checkpoint.is_file() else None
    train.start_step = _step_of(resume)
    val_every = min(val_every, max_steps)
    trainer = _trainer(scratch, name, train.start_step, max_steps, val_every, ema_decay, gradient_clip, val is not None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*num_workers.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.fit(
            module,
            DataLoader(train, batch_size=None),
            None if val is None else DataLoader(_Listed(val), batch_size=None),
            ckpt_path=str(resume) if resume else None,
            weights_only=True,
        )
    module.eval()
    _save_atomically(module.state_dict(), finished)
    checkpoint.unlink(missing_ok=True)


def adamw_cosine(
    module: nn.Module,
    lr: float,
    weight_decay: float,
    warmup_steps: int,
    max_steps: int,
    betas: tuple[float, float] = (0.9, 0.99),
) -> Any:
    """AdamW with a linear warm-up and a cosine fall to 0 over `max_steps`, as `configure_optimizers` returns it.

    Weights of two or more dimensions decay; biases, gains and norms do not.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)
    warmup_steps = min(warmup_steps, max(1, max_steps // 10))

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps)))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_count(module: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _trainer(
    scratch: Path,
    name: str,
    start_step: int,
    max_steps: int,
    val_every: int,
    ema_decay: float | None,
    gradient_clip: float | None,
    validate: bool,
) -> pl.Trainer:
    for noisy in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    callbacks: list[pl.Callback] = [_Progress(name, max_steps), _OwnRandomness()]
    if ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=ema_decay))
    callbacks.append(_Resumable(scratch / f"{name}.ckpt"))  # after the average, which it must save up to date
    return pl.Trainer(
        max_steps=max_steps,
        max_epochs=-1,
        callbacks=callbacks,
        logger=_Curves(scratch / "curves.jsonl", name, start_step),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if validate else 0,
        val_check_interval=val_every if validate else None,
        check_val_every_n_epoch=None,
        log_every_n_steps=min(LOG_EVERY_STEPS, max_steps),
        gradient_clip_val=gradient_clip,
        default_root_dir=str(scratch),
    )


class _Listed(IterableDataset[Any]):
    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class _Resumable(pl.Callback):
    """Saves where training stands every so often and when asked to stop, and restores the random state from there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stop_asked = False
        self.random_state: Tensor | None = None
        self.previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.random_state is not None:
            torch.set_rng_state(self.random_state)
        for number in (signal.SIGINT, signal.SIGTERM):
            self.previous[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.stop_asked:  # a second Ctrl-C does not wait
            self._restore_handlers()
            raise KeyboardInterrupt
        self.stop_asked = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        step = trainer.global_step
        if step % LOG_EVERY_STEPS == 0 and isinstance(loss, Tensor) and not torch.isfinite(loss):
            raise StageError(f"the training loss became {float(loss)} at step {step}; lower the stage's learning rate")
        if self.stop_asked or step % CHECKPOINT_EVERY_STEPS == 0:
            temporary = self.path.with_suffix(".partial")
            trainer.save_checkpoint(temporary)
            os.replace(temporary, self.path)
        if self.stop_asked:
            raise Interrupted(f"stopped after step {step} of {trainer.max_steps}; the same command goes on from there")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.random_state = checkpoint["random_state"].cpu()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}


class _OwnRandomness(pl.Callback):
    """Keeps validation from moving the random state that training draws from."""

    def __init__(self) -> None:
        self.kept: Tensor | None = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.kept = torch.get_rng_state()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.kept is not None:
            torch.set_rng_state(self.kept)


class _Progress(pl.Callback):
    def __init__(self, desc: str, max_steps: int) -> None:
        self.desc, self.max_steps = desc, max_steps
        self.bar: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        quiet = not os.isatty(2)
        self.bar = tqdm(
            total=self.max_steps,
            initial=trainer.global_step,
            desc=self.desc,
            unit="step",
            mininterval=20 if quiet else 0.2,
            maxinterval=60 if quiet else 10,
            leave=False,
            dynamic_ncols=True,
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % LOG_EVERY_STEPS == 0:
            shown = {
                k: f"{float(v):.3f}" for k, v in trainer.callback_metrics.items() if k in ("train/loss", "val/loss")
            }
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update(trainer.global_step - self.bar.n)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()


class _Curves(Logger):
    """Appends logged values to a JSON-lines file; lines of this fit after the step it resumes from are dropped."""

    def __init__(self, path: Path, fit_name: str, start_step: int) -> None:
        super().__init__()
        self.path, self.fit_name = path, fit_name
        if path.is_file():
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            kept = [line for line in lines if line["fit"] != fit_name or line["step"] <= start_step]
            path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    @property
    def name(self) -> str:
        return self.fit_name

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Hyper-parameters are in the manifest."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: value for key, value in metrics.items() if key != "epoch"}
        if values:
            with self.path.open("a") as handle:
                handle.write(json.dumps({"fit": self.fit_name, "step": (step or 0) + 1, **values}) + "\n")


def _step_of(checkpoint: Path | None) -> int:
    if checkpoint is None:
        return 0
    return int(torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)["global_step"])


def _save_atomically(state: dict[str, Any], path: Path) -> None:
    temporary = path.with_suffix(".partial")
    torch.save(state, temporary)
    os.replace(temporary, path)
