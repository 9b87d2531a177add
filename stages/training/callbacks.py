"""What happens beside the steps of a fit: saving and restoring, keeping the best weights, the progress bar."""

import math
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn
from tqdm import tqdm

from stages.errors import Interrupted, StageError

CHECKPOINT_EVERY_STEPS = 100
RandomState = list[Tensor]
LOG_EVERY_STEPS = 10


@dataclass(frozen=True)
class Best:
    """Which weights of a fit to keep, and when to give up hope of better ones."""

    value: str
    """Name of the logged value that decides; of equals, the later is kept."""
    highest: bool = False
    """Whether high values are good."""
    patience: int = 0
    """Validations in a row without a new best after which the fit ends; 0 = never."""


class ValidationAtTheEnd(pl.Callback):
    """Validates after the last step too, whatever the interval."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True  # which Lightning takes as a reason to validate


class KeepBest(pl.Callback):
    """Writes the weights to `path` at each validation that is the best so far."""

    def __init__(self, best: Best, path: Path) -> None:
        self.best, self.path = best, path
        self.value: float | None = None
        self.waited = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._lose_patience(trainer)  # already, where the fit was stopped after its last validation

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = float(trainer.callback_metrics[self.best.value])
        if self._is_best(value):
            self.value, self.waited = value, 0
            write_checkpoint(trainer, self.path)  # a whole one: its state_dict is what is published
            return
        self.waited += 1
        self._lose_patience(trainer)

    def _lose_patience(self, trainer: pl.Trainer) -> None:
        if self.best.patience and self.waited >= self.best.patience:
            trainer.should_stop = True

    def _is_best(self, value: float) -> bool:
        if self.value is None or math.isnan(self.value):
            return True
        return value >= self.value if self.best.highest else value <= self.value

    def state_dict(self) -> dict[str, Any]:
        """What a resumed fit must know."""
        return {"value": self.value, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from there."""
        self.value, self.waited = state_dict["value"], state_dict["waited"]


class SlowWeights(pl.Callback):
    """Validates and publishes the slow weights of Lookahead (arXiv:1907.08610), which Algorithm 1 returns.

    Training goes on with the fast ones. As with averaged weights, the `state_dict` of a checkpoint is what would be
    published. Does nothing with other optimisers.
    """

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if lookahead := _lookahead(trainer):
            lookahead.backup_and_load_cache()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if lookahead := _lookahead(trainer):
            lookahead.clear_and_load_backup()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if lookahead := _lookahead(trainer):
            lookahead.backup_and_load_cache()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if lookahead := _lookahead(trainer):
            named = pl_module.named_parameters(remove_duplicate=False)
            slow = {name: lookahead.state[p]["slow_params"] for name, p in named if p in lookahead.state}
            fast = checkpoint["state_dict"]
            checkpoint["fast_weights"] = fast
            checkpoint["state_dict"] = {name: slow.get(name, value) for name, value in fast.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if "fast_weights" in checkpoint:
            pl_module.load_state_dict(checkpoint["fast_weights"])  # in place of what Lightning loaded just now


def _lookahead(trainer: pl.Trainer) -> Any:
    """The optimiser if it is `pytorch_optimizer.Lookahead`, which is not imported for a fit that does without it."""
    optimizer = trainer.optimizers[0]
    return optimizer if hasattr(optimizer, "backup_and_load_cache") else None


class AveragedWeights(WeightAveraging):
    """Validates and publishes the exponential moving average of weights and buffers; whole numbers are not averaged.

    A code book is a buffer that goes along with the encoder's weights: averaged alike, it stays where the averaged
    encoder puts its vectors. Counts, levels and flags are copied: 0.9 times 3 and 0.1 times 3, cut off, are 2.
    """

    def __init__(self, decay: float) -> None:
        average = get_ema_avg_fn(decay)

        def average_floats(kept: Tensor, current: Tensor, updates: Tensor) -> Tensor:
            averaged: Tensor = average(kept, current, updates) if kept.is_floating_point() else current
            return averaged

        super().__init__(avg_fn=average_floats)


class Resumable(pl.Callback):
    """Saves where training stands every so often and when asked to stop, and restores the random state from there.

    Args:
        val_every: steps between validations, None for none. Where a step is validated, saving waits until that is
            over, because a resumed fit goes on with the next step.
    """

    def __init__(self, path: Path, val_every: int | None) -> None:
        self.path, self.val_every = path, val_every
        self.stop_asked = False
        self.random_state: RandomState | None = None
        self.previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.random_state is not None:
            set_random_state(self.random_state)
        for number in (signal.SIGINT, signal.SIGTERM):
            self.previous[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.stop_asked and number == signal.SIGINT:  # a second Ctrl-C does not wait; who sends SIGTERM may send
            # it to `all` as well, which passes it on
            self._restore_handlers()
            raise KeyboardInterrupt
        self.stop_asked = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not step_completed(trainer, batch_idx):
            return  # gradients that were accumulated are in no checkpoint
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        step = trainer.global_step
        if step % LOG_EVERY_STEPS == 0 and isinstance(loss, Tensor) and not torch.isfinite(loss):
            raise StageError(f"the training loss became {float(loss)} at step {step}; lower the stage's learning rate")
        if not (self.val_every and (step % self.val_every == 0 or step >= trainer.max_steps)):
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        if self.stop_asked or step % CHECKPOINT_EVERY_STEPS == 0:
            write_checkpoint(trainer, self.path)
        if self.stop_asked:
            raise Interrupted(f"stopped after step {step} of {trainer.max_steps}; the same command goes on from there")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["random_state"] = random_state()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.random_state = [state.cpu() for state in checkpoint["random_state"]]

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}


class OwnRandomness(pl.Callback):
    """Keeps validation from moving the random state that training draws from."""

    def __init__(self) -> None:
        self.kept: RandomState | None = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.kept = random_state()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.kept is not None:
            set_random_state(self.kept)


class Progress(pl.Callback):
    """A bar with the remaining time; where nobody watches, a line every 20 s."""

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
        if not step_completed(trainer, batch_idx):
            return
        if trainer.global_step % LOG_EVERY_STEPS == 0:
            shown = {
                k: f"{float(v):.3f}" for k, v in trainer.callback_metrics.items() if k in ("train/loss", "val/loss")
            }
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update(trainer.global_step - self.bar.n)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()


def step_completed(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether the batch was the last of an optimiser step, so that its weights and `global_step` are new."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def random_state() -> RandomState:
    """What torch draws from: the state of the CPU's generator, then that of each CUDA device."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def set_random_state(states: RandomState) -> None:
    """Takes it up again where `random_state` read it; devices that were not there then are left as they are."""
    torch.set_rng_state(states[0])
    for device, state in enumerate(states[1 : 1 + torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)


def write_checkpoint(trainer: pl.Trainer, path: Path) -> None:
    """Everything a fit needs to go on, in place of what was there, never half of it."""
    temporary = path.with_suffix(".partial")
    trainer.save_checkpoint(temporary)
    os.replace(temporary, path)
