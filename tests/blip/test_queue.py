"""The momentum queue: what it remembers, what is drawn from it, and that a stopped fit goes on with it exactly."""

import dataclasses
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertTokenizerFast

from stages.blip.batch import Batch, Pairs
from stages.blip.module import BlipModule
from stages.blip.network import BlipNetwork, build_network, embed_images, embed_text
from stages.blip.queue import MomentumQueue, Remembered
from stages.blip.stage import tune
from stages.config.blip import BlipConfig
from stages.data import PreparedSet
from stages.errors import Interrupted


@pytest.fixture
def config(config: BlipConfig) -> BlipConfig:
    return dataclasses.replace(config, queue_size=12, momentum=0.9)


@pytest.fixture
def queue(network: BlipNetwork) -> MomentumQueue:
    """Of 10 pairs, which batches of 4 do not fill evenly; the network has moved on since."""
    queue = MomentumQueue(network, size=10, max_tokens=16, momentum=0.9).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.5)
    return queue


@pytest.fixture
def pairs(dataset: PreparedSet, tokenizer: BertTokenizerFast) -> Pairs:
    return Pairs(dataset, dataset.split("train"), tokenizer, 16)


def remember(queue: MomentumQueue, batch: Batch) -> Remembered:
    return queue.remember(batch, batch.image)  # the small network takes pictures as they are


def batch_of(pairs: Pairs, start: int, count: int = 4) -> Batch:
    return pairs.batch(np.arange(start, start + count))


def assert_holds(found: Remembered, pairs: Pairs, rows: list[int], queue: MomentumQueue) -> None:
    """Whether these pairs are there, in this order, as the momentum encoders see them."""
    batch = pairs.batch(np.array(rows))
    length = batch.input_ids.shape[1]
    assert found.image_index.tolist() == batch.image_index.tolist()
    assert found.caption_index.tolist() == batch.caption_index.tolist()
    assert torch.equal(found.input_ids[:, :length], batch.input_ids) and not found.input_ids[:, length:].any()
    assert torch.equal(found.attention_mask[:, :length], batch.attention_mask)
    assert not found.attention_mask[:, length:].any()
    text = embed_text(queue.encoders, batch.input_ids, batch.attention_mask)
    torch.testing.assert_close(found.image, embed_images(queue.encoders, batch.image).pooled, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.text, text, rtol=0, atol=1e-6)


def part(found: Remembered, rows: slice) -> Remembered:
    return Remembered(*(value[rows] for value in found))


def test_a_batch_is_remembered_as_the_momentum_encoders_see_it(
    queue: MomentumQueue, network: BlipNetwork, pairs: Pairs
) -> None:
    found = remember(queue, batch_of(pairs, 0))
    assert_holds(found, pairs, [0, 1, 2, 3], queue)
    trained = embed_images(network.retrieval, batch_of(pairs, 0).image).pooled
    assert not torch.allclose(found.image, trained, atol=1e-3)
    assert found.input_ids.shape == found.attention_mask.shape == (4, 16)


def test_the_first_in_are_the_first_out(queue: MomentumQueue, pairs: Pairs) -> None:
    kept: list[int] = []
    for start in range(0, 24, 4):  # 24 pairs through 10 places: it wraps around twice, once within a batch
        new = list(range(start, start + 4))
        found = remember(queue, batch_of(pairs, start))
        assert_holds(part(found, slice(4)), pairs, new, queue)
        behind = part(found, slice(4, None))
        assert sorted(behind.image_index.tolist()) == sorted(kept)
        if kept:
            assert_holds(behind, pairs, behind.image_index.tolist(), queue)  # row n shows picture n
        kept = [*kept, *new][-10:]
    assert int(queue.pushed) == 24


def test_what_was_handed_out_does_not_change_with_the_queue(queue: MomentumQueue, pairs: Pairs) -> None:
    remember(queue, batch_of(pairs, 0, 8))
    found = remember(queue, batch_of(pairs, 8))
    before = [value.clone() for value in found]
    for start in (12, 16, 20):
        remember(queue, batch_of(pairs, start))
    assert all(torch.equal(now, then) for now, then in zip(found, before, strict=True))


def test_following_moves_every_weight_by_what_momentum_leaves(queue: MomentumQueue, network: BlipNetwork) -> None:
    slow = {name: weight.clone() for name, weight in queue.encoders.state_dict().items()}
    trained = {name: weight.clone() for name, weight in network.retrieval.state_dict().items()}
    queue.follow(network)
    for name, weight in queue.encoders.state_dict().items():
        torch.testing.assert_close(weight, 0.9 * slow[name] + 0.1 * trained[name])
        assert torch.equal(network.retrieval.state_dict()[name], trained[name])
    for _ in range(300):
        queue.follow(network)
    for name, weight in queue.encoders.state_dict().items():
        torch.testing.assert_close(weight, trained[name])


def test_momentum_encoders_get_no_gradient_and_no_step(network: BlipNetwork, config: BlipConfig, pairs: Pairs) -> None:
    module = BlipModule(network, config, seed=0).train()
    assert module.queue is not None
    for start in (0, 8):
        losses, _, _ = module.losses(batch_of(pairs, start, 8), 0)
    module.total(losses).backward()
    own = {id(weight) for weight in module.queue.parameters()}
    assert own and not any(weight.requires_grad or weight.grad is not None for weight in module.queue.parameters())
    assert all(weight.grad is not None for weight in network.parameters())
    optimizer = module.configure_optimizers()["optimizer"]
    assert not any(id(weight) in own for group in optimizer.param_groups for weight in group["params"])
    shared = {weight.data_ptr() for weight in network.parameters()}
    assert not any(weight.data_ptr() in shared for weight in module.queue.parameters())


def test_itc_looks_pairs_up_in_batch_and_queue(network: BlipNetwork, config: BlipConfig, pairs: Pairs) -> None:
    """Against sums written out; picture 0 is in the batch with one caption and in the queue with another."""
    module = BlipModule(network, config, seed=0).train()
    assert module.queue is not None
    with torch.no_grad():
        for weight in module.queue.parameters():
            weight.mul_(0.9)
    old, new = [28, 3, 4, 5, 6, 7], [0, 3, 8, 9]
    module.losses(pairs.batch(np.array(old)), 0)
    losses, image, text = module.losses(pairs.batch(np.array(new)), 0)
    bank = pairs.batch(np.array([*new, *old]))
    bank_text = embed_text(module.queue.encoders, bank.input_ids, bank.attention_mask)
    bank_image = embed_images(module.queue.encoders, bank.image).pooled
    mates = [[0, 4], [1, 5], [2], [3]]
    expected = 0.0
    for rows, columns in ((image.pooled, bank_text), (text, bank_image)):
        for row, own in zip(rows, mates, strict=True):
            scores = [math.exp(float(row.detach() @ column) / config.temperature) for column in columns]
            expected -= sum(math.log(scores[j] / sum(scores)) for j in own) / len(own) / 8
    assert losses.itc.item() == pytest.approx(expected, rel=1e-4)


def test_hard_captions_come_from_the_queue_and_are_true_of_no_picture_they_stand_by(
    network: BlipNetwork, config: BlipConfig, pairs: Pairs, dataset: PreparedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pair that matching sees, told by its picture and its words; the queue holds the same pairs again."""
    module = BlipModule(network, dataclasses.replace(config, itm_share=1.0, queue_size=16), seed=0).train()
    seen: list[tuple[Tensor, Tensor]] = []
    match = network.match

    def spy(image_tokens: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        seen.append((image_tokens, input_ids * attention_mask))
        return match(image_tokens, input_ids, attention_mask)

    old, new = [0, 28, *range(1, 9)], [28, 0, 1, 2, 20, 21]
    shown = pairs.image_rows[new].tolist()
    captions = dataset.split("train").captions
    true = {(int(pairs.image_rows[row]), captions[row]) for row in range(len(pairs))}
    spelled = {
        tuple(ids[: int(n)].tolist()): row
        for row, (ids, n) in enumerate(zip(pairs.input_ids, pairs.lengths, strict=True))
    }
    module.losses(pairs.batch(np.array(old)), 0)
    monkeypatch.setattr(network, "match", spy)
    drawn: set[int] = set()
    for draw in range(20):
        assert module.queue is not None
        module.queue.pushed.fill_(len(old))  # forgets the batch of the last draw
        _, image, _ = module.losses(pairs.batch(np.array(new)), draw)
        image_tokens, input_ids = seen.pop()
        assert len(input_ids) == 18  # every picture with its own and a hard caption, every caption with a hard picture
        pictures = [shown[next(i for i in range(6) if torch.equal(image.tokens[i], one))] for one in image_tokens]
        rows = [spelled[tuple(ids[ids != 0].tolist())] for ids in input_ids]
        for place, (picture, row) in enumerate(zip(pictures, rows, strict=True)):
            assert ((picture, captions[row]) in true) == (place < 6)
        assert pictures[:12] == [*shown, *shown] and rows[:6] == new and rows[12:] == new
        drawn.update(rows[6:12])
    assert drawn <= set(old) and len(drawn) > 4  # none of 20 and 21, which only the batch has


def test_validation_leaves_the_queue_alone(network: BlipNetwork, config: BlipConfig, pairs: Pairs) -> None:
    module = BlipModule(network, config, seed=0)
    module.train().losses(batch_of(pairs, 0, 8), 0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    losses, _, _ = module.eval().losses(batch_of(pairs, 8, 8), 0)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    alone = BlipModule(network, dataclasses.replace(config, queue_size=0), seed=0).eval()
    assert torch.equal(losses.itc, alone.losses(batch_of(pairs, 8, 8), 0)[0].itc)


class Stopped(BlipModule):
    """Is asked to stop, as by Ctrl-C."""

    stop_at = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.global_step + 1 == self.stop_at and batch_idx % self.config.accumulate == 0:  # twice would not wait
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, batch_idx)


def fitted(config: BlipConfig, dataset: PreparedSet, tokenizer: BertTokenizerFast, scratch: Path, stop: int = 0) -> Any:
    torch.manual_seed(3)
    scratch.mkdir(exist_ok=True)
    module = Stopped(build_network(config, tokenizer, 16, seed=1), config, seed=0)
    module.stop_at = stop
    tune(module, tokenizer, dataset, 0, scratch)
    return module


@pytest.mark.parametrize(("optimizer", "accumulate"), [("adamw", 1), ("radam_lookahead", 2)])
def test_stopped_and_resumed_with_a_queue_equals_one_go(
    config: BlipConfig, dataset: PreparedSet, tokenizer: BertTokenizerFast, tmp_path: Path,
    optimizer: Any, accumulate: int,
) -> None:  # fmt: skip
    config = dataclasses.replace(
        config, optimizer=optimizer, accumulate=accumulate, max_steps=10, val_every=10, dropout=0.1, queue_size=19
    )
    whole = fitted(config, dataset, tokenizer, tmp_path / "whole")
    with pytest.raises(Interrupted, match="after step 7 of 10"):
        fitted(config, dataset, tokenizer, tmp_path / "parts", stop=7)
    resumed = fitted(config, dataset, tokenizer, tmp_path / "parts")
    assert int(whole.queue.pushed) == 80 * accumulate
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in theirs.items()), "weights, momentum weights, queue"
    assert (tmp_path / "parts" / "curves.jsonl").read_text() == (tmp_path / "whole" / "curves.jsonl").read_text()


def test_momentum_encoders_follow_once_a_step_however_many_batches_it_takes(
    config: BlipConfig, dataset: PreparedSet, tokenizer: BertTokenizerFast, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    followed: list[int] = []
    monkeypatch.setattr(MomentumQueue, "follow", lambda self, network: followed.append(int(self.pushed)))
    fitted(dataclasses.replace(config, accumulate=3), dataset, tokenizer, tmp_path / "fit")
    assert followed == [0, 24, 48, 72]  # 4 steps of 3 batches of 8
