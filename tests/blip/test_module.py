import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertTokenizerFast
from transformers.models.blip.modeling_blip import image_text_contrastive_loss

from stages.blip.batch import Batch, InOrder, Pairs
from stages.blip.losses import hard_negatives, itm_loss, related_pairs
from stages.blip.module import BlipModule
from stages.blip.network import BlipNetwork
from stages.blip.stage import prepare, tune
from stages.config.blip import BlipConfig
from stages.data import PreparedSet


def within(batch: Batch) -> Tensor:
    """What is related within a batch."""
    return related_pairs(batch.image_index, batch.caption_index, batch.image_index, batch.caption_index)


@pytest.fixture
def module(network: BlipNetwork, config: BlipConfig) -> BlipModule:
    return BlipModule(network, config, seed=0).eval()


@pytest.fixture
def pairs(dataset: PreparedSet, tokenizer: BertTokenizerFast) -> Pairs:
    return Pairs(dataset, dataset.split("train"), tokenizer, 16)


def test_batches_are_padded_to_their_own_longest_caption_and_know_what_is_the_same(
    pairs: Pairs, tokenizer: BertTokenizerFast
) -> None:
    batch = pairs.batch(np.array([0, 28, 5]))
    assert batch.image.shape == (3, 3, 16, 16) and -1 <= float(batch.image.min()) < float(batch.image.max()) <= 1
    assert int(batch.attention_mask.sum(1).max()) == batch.input_ids.shape[1]
    related = within(batch)
    assert related.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_every_val_pair_comes_once(pairs: Pairs) -> None:
    sizes = [len(batch.image) for batch in InOrder(pairs, 8)]
    assert sizes == [8, 8, 8, 5]
    assert [len(batch.image) for batch in InOrder(pairs, 14)] == [14, 14]  # a single one has no negative


def test_matching_sees_every_pair_and_two_hard_negatives_of_each(
    module: BlipModule, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    match = module.network.match

    def spy(image_tokens: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        seen.append((image_tokens, input_ids))
        return match(image_tokens, input_ids, attention_mask)

    monkeypatch.setattr(module.network, "match", spy)
    batch = pairs.batch(np.array([0, 28, 5, 6, 7, 8]))
    _, image, _ = module.losses(batch, 0)
    image_tokens, input_ids = seen[0]
    assert len(image_tokens) == len(input_ids) == 18
    assert torch.equal(image_tokens[:6], image.tokens) and torch.equal(input_ids[:6], batch.input_ids)
    assert torch.equal(image_tokens[6:12], image.tokens) and torch.equal(input_ids[12:], batch.input_ids)
    rows = [next(i for i in range(6) if torch.equal(batch.input_ids[i], ids)) for ids in input_ids[6:12]]
    related = within(batch)
    assert not any(related[i, j] for i, j in enumerate(rows))


def test_matching_sees_a_share_of_the_pairs_in_training_only(
    network: BlipNetwork, config: BlipConfig, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = BlipModule(network, dataclasses.replace(config, itm_share=0.3), seed=0)
    sizes: list[int] = []
    match = module.network.match

    def spy(*inputs: Tensor) -> Tensor:
        sizes.append(len(inputs[1]))
        return match(*inputs)

    monkeypatch.setattr(module.network, "match", spy)
    for mode in (True, False):
        module.train(mode).losses(pairs.batch(np.arange(8)), 0)
    assert sizes == [9, 24]  # 3 of 8 pairs, then all, with two negatives each


def test_the_matching_loss_counts_hard_negatives_as_unrelated(module: BlipModule, pairs: Pairs) -> None:
    batch = pairs.batch(np.arange(6))
    losses, image, _ = module.losses(batch, 0)
    logits = module.network.match(image.tokens, batch.input_ids, batch.attention_mask)
    alone = itm_loss(logits, torch.ones(6, dtype=torch.bool))
    assert losses.itm != alone
    assert torch.equal(module.losses(batch, 0)[0].itm, losses.itm)
    assert any(not torch.equal(module.losses(batch, draw)[0].itm, losses.itm) for draw in range(1, 9))


def test_a_batch_where_all_is_related_still_has_losses(module: BlipModule, pairs: Pairs) -> None:
    losses, _, _ = module.losses(pairs.batch(np.array([0, 28])), 0)
    assert all(bool(torch.isfinite(loss)) for loss in losses)


def test_every_weight_learns(module: BlipModule, pairs: Pairs) -> None:
    losses, _, _ = module.losses(pairs.batch(np.arange(8)), 0)
    (losses.itc + losses.itm + losses.lm).backward()
    without = [name for name, p in module.named_parameters() if p.grad is None]
    assert without == []


def test_weights_of_the_losses_are_those_of_the_config(network: BlipNetwork, config: BlipConfig, pairs: Pairs) -> None:
    batch = pairs.batch(np.arange(8))
    config = dataclasses.replace(config, itc_weight=0.5, itm_weight=2.0, lm_weight=0.25)
    module = BlipModule(network, config, seed=0)
    losses, _, _ = module.losses(batch, 0)
    torch.testing.assert_close(module.total(losses), 0.5 * losses.itc + 2 * losses.itm + 0.25 * losses.lm)


@pytest.mark.parametrize(
    ("steps", "more"), [(60, {}), (90, {"queue_size": 48, "momentum": 0.9, "nearest": 8})], ids=["batch", "queue"]
)
def test_tuning_learns_to_tell_pairs_apart_and_publishes_curves(
    config: BlipConfig, dataset: PreparedSet, tmp_path: Path, steps: int, more: dict[str, Any]
) -> None:
    config = dataclasses.replace(
        config, max_steps=steps, batch_size=16, val_every=steps, warmup_steps=5, lr=4e-3, **more
    )
    module, tokenizer = prepare(config, dataset, seed=0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    tune(module, tokenizer, dataset, 0, tmp_path)
    assert any(not torch.equal(before[name], value) for name, value in module.state_dict().items())
    curves = (tmp_path / "curves.jsonl").read_text()
    for name in ("train/itc", "train/itm", "train/lm", "val/itc", "val/itm", "val/lm", "val/retrieval_r10"):
        assert name in curves
    batch = Pairs(dataset, dataset.split("train"), tokenizer, 16).batch(np.arange(16))
    losses, _, _ = module.eval().losses(batch, 0)
    assert losses.itc < 1.5 and losses.lm < 1.2  # ln 16 = 2.77 and about 6 when untuned


def test_the_losses_are_those_that_transformers_computes(
    module: BlipModule, pairs: Pairs, tokenizer: BertTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three losses from the two published models alone, given which hard negatives were drawn."""
    batch = pairs.batch(np.array([1, 4, 5, 6, 7, 8]))
    drawn: list[Tensor] = []

    def spy(*inputs: Any) -> Tensor:
        drawn.append(hard_negatives(*inputs))
        return drawn[-1]

    monkeypatch.setattr("stages.blip.module.hard_negatives", spy)
    losses, _, _ = module.losses(batch, 0)
    captions, images = drawn  # of each picture, of each caption
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    network = module.network
    with torch.no_grad():
        cosine = network.retrieval(**inputs, pixel_values=batch.image, use_itm_head=False).itm_score
        itc = image_text_contrastive_loss(cosine.T / module.config.temperature)
        asked = torch.cat([torch.arange(6), captions, torch.arange(6)])
        shown = torch.cat([torch.arange(6), torch.arange(6), images])
        scores = network.retrieval(
            input_ids=batch.input_ids[asked],
            attention_mask=batch.attention_mask[asked],
            pixel_values=batch.image[shown],
        ).itm_score.log_softmax(1)
        itm = -torch.cat([scores[:6, 1], scores[6:, 0]]).mean()
        opened = batch.input_ids.clone()
        opened[:, 0] = tokenizer.bos_token_id
        labels = opened.masked_fill(batch.attention_mask == 0, -100)
        lm = network.captioner(pixel_values=batch.image, labels=labels, **(inputs | {"input_ids": opened})).loss
    for ours, expected in zip(losses, (itc, itm, lm), strict=True):
        torch.testing.assert_close(ours.detach(), expected)


@pytest.mark.parametrize(("reached", "bound"), [(1e-4, 0.01), (3.0, 0.5)])
def test_a_step_brings_the_temperature_back_and_goes_on_learning_it(
    network: BlipNetwork,
    config: BlipConfig,
    pairs: Pairs,
    monkeypatch: pytest.MonkeyPatch,
    reached: float,
    bound: float,
) -> None:
    module = BlipModule(network, dataclasses.replace(config, temperature=0.2), seed=0)
    assert module.temperature().item() == pytest.approx(0.2)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(module, "log_dict", lambda *_, **__: None)
    module.log_temperature.data.fill_(math.log(reached))
    module.training_step(pairs.batch(np.arange(8)), 0).backward()
    assert module.temperature().item() == pytest.approx(bound)
    assert module.log_temperature.grad is not None and module.log_temperature.grad != 0


def test_a_val_split_of_one_pair_is_not_validated(config: BlipConfig, dataset: PreparedSet, tmp_path: Path) -> None:
    records = [record for record in dataset.records if record.split == "train"]
    one = dataclasses.replace(records[-1], split="val")
    alone = dataclasses.replace(dataset, records=[*records, one])
    module, tokenizer = prepare(config, alone, seed=0)
    tune(module, tokenizer, alone, 0, tmp_path)
    curves = (tmp_path / "curves.jsonl").read_text()
    assert "train/loss" in curves and "val/" not in curves


def test_patience_ends_tuning_that_finds_no_more(
    config: BlipConfig, dataset: PreparedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.5, 0.4, 0.3, 0.9])
    monkeypatch.setattr("stages.blip.module.recall_at", lambda ranks, k: next(values) if k == 1 else 0.0)
    config = dataclasses.replace(config, max_steps=8, val_every=2, patience=2)
    module, tokenizer = prepare(config, dataset, seed=0)
    tune(module, tokenizer, dataset, 0, tmp_path)
    steps = [json.loads(line)["step"] for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert max(steps) == 6 and next(values) == 0.9  # the best was at 2, and two validations came after


def test_long_train_captions_are_truncated_with_a_count_in_the_log(
    config: BlipConfig, dataset: PreparedSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(config, max_tokens=9, max_steps=1)  # [CLS] a red patch on blue , left [SEP]
    module, tokenizer = prepare(config, dataset, seed=0)
    with caplog.at_level(logging.WARNING, logger="stages.blip"):
        tune(module, tokenizer, dataset, 0, tmp_path)
    long = sum("old master" in caption or "first" in caption for caption in dataset.split("train").captions)
    assert 0 < long < 29
    assert f"blip: {long} of 29 train captions truncated to 9 tokens" in caplog.text
