"""The one way a module is fitted: stopped and resumed training equals training in one go, to the bit."""

import json
import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from stages.config.precision import Precision
from stages.errors import Interrupted, StageError
from stages.training import Batches, Best, Sweep, adamw_cosine, fit, radam_lookahead, steps_done
from stages.training.curves import Curves

DATA = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


class Regression(pl.LightningModule):
    """A small network with dropout, so that resuming must restore the random state too."""

    def __init__(self, stop_at: int | None = None, scale: float = 1.0, stop_in: int = 0, dropout: float = 0.5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.network = nn.Sequential(nn.Linear(4, 16), nn.Dropout(dropout), nn.Linear(16, 1))
        for parameter in self.network.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        self.stop_at, self.stop_in, self.scale, self.seen = stop_at, stop_in, scale, 0

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen += 1
        if self.global_step + 1 == self.stop_at and batch_idx % self.trainer.accumulate_grad_batches == self.stop_in:
            self.interrupt()
        loss = (self.network(batch) - batch.sum(-1, keepdim=True)).square().mean() * self.scale
        self.log("train/loss", loss.detach())
        return loss

    def interrupt(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C would

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        torch.rand(3)  # validation may draw numbers; training must not notice
        self.log("val/loss", (self.network(batch) - batch.sum(-1, keepdim=True)).square().mean())

    def configure_optimizers(self) -> Any:
        return adamw_cosine(self, 1e-2, 0.01, 5, 60)


class Scored(Regression):
    """Validates to what it is told at each step."""

    scores: ClassVar[dict[int, float]] = {20: 0.5, 40: 0.7, 60: 0.6}

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/score", self.scores[self.global_step])


class Ahead(Regression):
    """Learns with Lookahead, all but one vector."""

    def __init__(self, k: int, stop_at: int | None = None, stop_in: int = 0, dropout: float = 0.5) -> None:
        super().__init__(stop_at, stop_in=stop_in, dropout=dropout)
        list(self.network.parameters())[-1].requires_grad_(False)
        self.k = k

    def configure_optimizers(self) -> Any:
        return radam_lookahead(self, 1e-2, 0.1, warmup_steps=4, k=self.k)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.log("val/first", float(self.global_step == 20))


class Killed(Regression):
    """Is ended without a chance to save, as by loss of power."""

    def interrupt(self) -> None:
        raise RuntimeError("killed")


def train(
    module: Regression,
    scratch: Path,
    ema: float | None = 0.9,
    steps: int = 60,
    best: Best | None = None,
    batch_size: int = 8,
    accumulate: int = 1,
    precision: Precision = "float32",
) -> Regression:
    torch.manual_seed(3)
    scratch.mkdir(exist_ok=True)
    fit(
        module,
        Batches(lambda rows: DATA[rows], len(DATA), batch_size, seed=5),
        Sweep(lambda rows: DATA[rows], len(DATA), 20),
        max_steps=steps,
        val_every=20,
        scratch=scratch,
        desc="toy",
        accumulate=accumulate,
        ema_decay=ema,
        best=best,
        precision=precision,
    )
    return module


def curves(scratch: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (scratch / "curves.jsonl").read_text().splitlines()]


def assert_same_weights(one: Regression, other: Regression) -> None:
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name


def test_a_line_of_curves_that_was_cut_is_left_out(tmp_path: Path) -> None:
    path, whole = tmp_path / "curves.jsonl", '{"fit": "x", "step": 3}\n'
    path.write_text(whole + '{"fit": "x", "st')
    assert steps_done(path, "x") == 3
    Curves(path, "y", 0)
    assert path.read_text() == whole


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("stop", [33, 40, 60])
def test_stopped_and_resumed_equals_one_go(tmp_path: Path, ema: float | None, stop: int) -> None:
    whole = train(Regression(), tmp_path / "whole", ema)
    next_drawn = torch.rand(5)
    with pytest.raises(Interrupted, match=f"after step {stop} of 60"):
        train(Regression(stop_at=stop), tmp_path / "parts", ema)
    torch.manual_seed(99)
    resumed = train(Regression(), tmp_path / "parts", ema)
    assert torch.equal(torch.rand(5), next_drawn)  # what is trained next is as if there had been no stop
    assert resumed.seen == 60 - stop
    assert_same_weights(whole, resumed)
    whole_curves, resumed_curves = (tmp_path / name / "curves.jsonl" for name in ("whole", "parts"))
    assert resumed_curves.read_text() == whole_curves.read_text()


@pytest.mark.parametrize("scale", [0.01, 10.0])  # gradients far below and far above the norm at which they are clipped
def test_accumulated_batches_equal_one_large_batch(tmp_path: Path, scale: float) -> None:
    large = train(Regression(scale=scale, dropout=0), tmp_path / "large", batch_size=8)
    small = train(Regression(scale=scale, dropout=0), tmp_path / "small", batch_size=4, accumulate=2)
    assert (large.seen, small.seen) == (60, 120)
    for name, value in large.network.state_dict().items():
        assert torch.allclose(value, small.network.state_dict()[name], rtol=0, atol=1e-6), name
    ours, theirs = curves(tmp_path / "small"), curves(tmp_path / "large")
    assert [(line["step"], line.keys()) for line in ours] == [(line["step"], line.keys()) for line in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.get("val/loss", 0.0) == pytest.approx(other.get("val/loss", 0.0), rel=1e-4)


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize(("stop", "stop_in"), [(1, 0), (20, 0), (33, 1), (40, 2), (60, 1)])
def test_stopped_while_accumulating_and_resumed_equals_one_go(
    tmp_path: Path, ema: float | None, stop: int, stop_in: int
) -> None:
    whole = train(Regression(), tmp_path / "whole", ema, accumulate=3)
    with pytest.raises(Interrupted, match=f"after step {stop} of 60"):
        train(Regression(stop_at=stop, stop_in=stop_in), tmp_path / "parts", ema, accumulate=3)
    resumed = train(Regression(), tmp_path / "parts", ema, accumulate=3)
    assert resumed.seen == (60 - stop) * 3
    assert_same_weights(whole, resumed)
    assert curves(tmp_path / "parts") == curves(tmp_path / "whole")


@pytest.mark.parametrize(("killed_at", "saved"), [(36, 35), (41, 40), (45, 40)])  # 40 is saved after its validation
@pytest.mark.parametrize("killed_in", [0, 2])
def test_killed_while_accumulating_goes_on_from_a_whole_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int, saved: int, killed_in: int
) -> None:
    monkeypatch.setattr("stages.training.callbacks.CHECKPOINT_EVERY_STEPS", 5)
    whole = train(Regression(), tmp_path / "whole", accumulate=3)
    with pytest.raises(RuntimeError, match="killed"):
        train(Killed(stop_at=killed_at, stop_in=killed_in), tmp_path / "parts", accumulate=3)
    resumed = train(Regression(), tmp_path / "parts", accumulate=3)
    assert resumed.seen == (60 - saved) * 3
    assert_same_weights(whole, resumed)
    assert curves(tmp_path / "parts") == curves(tmp_path / "whole")


def test_accumulating_validates_and_waits_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(Regression(), tmp_path / "odd", steps=50, accumulate=3)
    lines = curves(tmp_path / "odd")
    assert [line["step"] for line in lines if "val/loss" in line] == [20, 40, 50]
    assert [line["step"] for line in lines if "train/loss" in line] == [10, 20, 30, 40, 50]
    monkeypatch.setattr(Scored, "scores", {20: 0.1, 40: 0.2, 60: 0.3})
    scored = train(Scored(), tmp_path / "scored", steps=80, best=Best("val/score", patience=2), accumulate=3)
    assert scored.seen == 60 * 3
    assert_same_weights(scored, train(Regression(), tmp_path / "short", steps=20, accumulate=3))


def lookahead_by_hand(k: int, steps: int) -> list[tuple[list[Tensor], list[Tensor]]]:
    """The slow and the fast weights at the start and after each step: Algorithm 1 of arXiv:1907.08610 over RAdam."""
    network = Ahead(k, dropout=0).network
    fast = list(network.parameters())[:3]  # hidden weight, hidden bias, output weight
    groups = [{"params": fast[::2], "weight_decay": 0.1}, {"params": fast[1:2], "weight_decay": 0.0}]
    radam = torch.optim.RAdam(groups, lr=1e-2, betas=(0.9, 0.999), decoupled_weight_decay=True)
    batches = Batches(lambda rows: DATA[rows], len(DATA), 8, seed=5)
    slow = [weight.detach().clone() for weight in fast]
    kept = [([*slow], [weight.detach().clone() for weight in fast])]
    for step in range(1, steps + 1):
        batch = DATA[batches.rows(step - 1)]
        radam.zero_grad()
        (network(batch) - batch.sum(-1, keepdim=True)).square().mean().backward()
        nn.utils.clip_grad_norm_(fast, 1.0)
        for group in radam.param_groups:
            group["lr"] = 1e-2 * min(step, 4) / 4
        radam.step()
        if step % k == 0:
            slow = [0.5 * one + 0.5 * other.detach() for one, other in zip(slow, fast, strict=True)]
            for weight, value in zip(fast, slow, strict=True):
                weight.data.copy_(value)
        kept.append(([*slow], [weight.detach().clone() for weight in fast]))
    return kept


def farthest(ours: Regression, weights: list[Tensor]) -> float:
    """Largest distance of a trained weight from what it is compared with."""
    trained = [weight for weight in ours.network.parameters() if weight.requires_grad]
    return max(float((one.detach() - other).abs().max()) for one, other in zip(trained, weights, strict=True))


@pytest.mark.parametrize("k", [5, 6])
def test_lookahead_publishes_and_validates_the_slow_weights(tmp_path: Path, k: int) -> None:
    by_hand = lookahead_by_hand(k, 33)
    module = train(Ahead(k, dropout=0), tmp_path, ema=None, steps=33)
    slow, fast = by_hand[33]
    assert farthest(module, slow) < 1e-6
    assert farthest(module, fast) > 1e-3
    validated = {line["step"]: line["val/loss"] for line in curves(tmp_path) if "val/loss" in line}
    assert list(validated) == [20, 33]
    for step, value in validated.items():
        weight, bias, out = by_hand[step][0]
        predicted = (DATA @ weight.T + bias) @ out.T + list(module.network.parameters())[-1].detach()
        assert value == pytest.approx(float((predicted - DATA.sum(-1, keepdim=True)).square().mean()), rel=1e-5)


def test_lookahead_keeps_the_slow_weights_of_the_best_validation(tmp_path: Path) -> None:
    module = train(Ahead(6, dropout=0), tmp_path, ema=None, steps=21, best=Best("val/first", highest=True))
    slow, fast = lookahead_by_hand(6, 20)[20]
    assert farthest(module, slow) < 1e-6
    assert farthest(module, fast) > 1e-3


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("stop", [1, 20, 33, 35, 60])
def test_lookahead_stopped_and_resumed_equals_one_go(
    tmp_path: Path, stop: int, ema: float | None, accumulate: int
) -> None:
    whole = train(Ahead(7), tmp_path / "whole", ema, accumulate=accumulate)
    with pytest.raises(Interrupted, match=f"after step {stop} of 60"):
        train(Ahead(7, stop_at=stop, stop_in=accumulate // 2), tmp_path / "parts", ema, accumulate=accumulate)
    resumed = train(Ahead(7), tmp_path / "parts", ema, accumulate=accumulate)
    assert resumed.seen == (60 - stop) * accumulate
    assert_same_weights(whole, resumed)
    assert curves(tmp_path / "parts") == curves(tmp_path / "whole")


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("stop", [None, 20, 50])
def test_the_weights_of_the_best_validation_are_kept(tmp_path: Path, ema: float | None, stop: int | None) -> None:
    best = Best("val/score", highest=True)
    if stop:
        with pytest.raises(Interrupted):
            train(Scored(stop_at=stop), tmp_path / "scored", ema, best=best)
    scored = train(Scored(), tmp_path / "scored", ema, best=best)
    assert_same_weights(scored, train(Regression(), tmp_path / "short", ema, steps=40))
    assert [path.name for path in (tmp_path / "scored").glob("*.ckpt")] == []


def test_of_equal_validations_the_later_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scored, "scores", {20: 0.9, 40: 0.1, 60: 0.1})
    scored = train(Scored(), tmp_path / "scored", best=Best("val/score"))
    assert_same_weights(scored, train(Regression(), tmp_path / "whole"))


def test_a_validation_that_is_no_number_is_not_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scored, "scores", {20: float("nan"), 40: 0.2, 60: 0.3})
    scored = train(Scored(), tmp_path / "scored", best=Best("val/score"))
    assert_same_weights(scored, train(Regression(), tmp_path / "short", steps=40))


@pytest.mark.parametrize("stop", [None, 40, 60])
def test_patience_ends_a_fit_that_gets_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int | None) -> None:
    monkeypatch.setattr(Scored, "scores", {20: 0.1, 40: 0.2, 60: 0.3})
    best = Best("val/score", patience=2)
    if stop:
        with pytest.raises(Interrupted):
            train(Scored(stop_at=stop), tmp_path / "scored", steps=80, best=best)
    scored = train(Scored(), tmp_path / "scored", steps=80, best=best)
    assert scored.seen + (stop or 0) == 60
    assert_same_weights(scored, train(Regression(), tmp_path / "short", steps=20))


def test_the_last_step_is_validated_whatever_the_interval(tmp_path: Path) -> None:
    train(Regression(), tmp_path, steps=50)
    lines = curves(tmp_path)
    assert [line["step"] for line in lines if "val/loss" in line] == [20, 40, 50]


class Typed(Regression):
    """Notes the type in which its first product comes out."""

    types: ClassVar[set[torch.dtype]] = set()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.types.add(self.network[0](batch).dtype)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_is_for_products_alone_and_for_machines_that_multiply_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, able: bool
) -> None:
    monkeypatch.setattr("stages.training.precision.multiplies_bfloat16", lambda _: able)
    monkeypatch.setattr(Typed, "types", set())
    module = train(Typed(), tmp_path, precision="bfloat16")
    assert Typed.types == {torch.bfloat16 if able else torch.float32}
    assert ("training in float32" in caplog.text) != able
    assert {weight.dtype for weight in module.state_dict().values()} == {torch.float32}
    losses = [line["val/loss"] for line in curves(tmp_path) if "val/loss" in line]
    assert losses[-1] < losses[0]


def test_a_finished_fit_is_not_repeated(tmp_path: Path) -> None:
    first = train(Regression(), tmp_path)
    again = train(Regression(), tmp_path)
    assert again.seen == 0
    assert torch.equal(first.network.state_dict()["0.weight"], again.network.state_dict()["0.weight"])


def test_what_follows_a_finished_fit_is_drawn_as_if_it_had_just_been_trained(tmp_path: Path) -> None:
    """A second network's weights and dropout, after a run that was killed before the second was saved once."""
    drawn = []
    for _ in range(2):
        train(Regression(), tmp_path)
        drawn.append(torch.rand(5))
        torch.manual_seed(99)
    assert torch.equal(drawn[0], drawn[1])


def test_curves_have_every_logged_step_once(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(Regression(stop_at=33), tmp_path)
    train(Regression(), tmp_path)
    lines = curves(tmp_path)
    assert [line["step"] for line in lines if "train/loss" in line] == [10, 20, 30, 40, 50, 60]
    assert [line["step"] for line in lines if "val/loss" in line] == [20, 40, 60]
    losses = [line["val/loss"] for line in lines if "val/loss" in line]
    assert losses[-1] < losses[0]


def test_a_loss_that_is_not_finite_stops_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"became (inf|nan) at step 10; lower .* learning rate"):
        train(Regression(scale=float("inf")), tmp_path)


def test_every_row_is_drawn_once_per_epoch_whatever_the_batch() -> None:
    batches = Batches(lambda rows: rows, 10, 4, seed=0)
    drawn = np.concatenate([batches.rows(step) for step in range(10)])
    for epoch in range(4):
        assert sorted(drawn[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert not np.array_equal(drawn[:10], drawn[10:20])
    assert len(Batches(lambda rows: rows, 3, 8, seed=0).rows(0)) == 8


def test_an_empty_training_set_is_refused() -> None:
    with pytest.raises(StageError, match="train split is empty"):
        Batches(lambda rows: rows, 0, 4, seed=0)
