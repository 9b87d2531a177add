import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertTokenizerFast

from stages.blip.blip import Blip
from stages.blip.losses import itm_loss, related_pairs
from stages.blip.module import BlipModule
from stages.blip.network import BlipNetwork
from stages.blip.stage import InOrder, Pairs, measure, prepare, tune
from stages.blip.table import build_table
from stages.config.blip import BlipConfig
from stages.data import PreparedSet


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
    related = related_pairs(batch.image_index, batch.caption_index)
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
    related = related_pairs(batch.image_index, batch.caption_index)
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


def test_tuning_learns_to_tell_pairs_apart_and_publishes_curves(
    config: BlipConfig, dataset: PreparedSet, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, max_steps=60, batch_size=16, val_every=30, warmup_steps=5, lr=4e-3)
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


def test_the_table_of_a_small_set(blip: Blip, dataset: PreparedSet) -> None:
    table = measure(blip, dataset, seed=0)
    assert all(set(row) >= {"value", "n", "ci95", "protocol"} for row in table.values())
    assert table["published_precision"]["value"] in (0.0, 1.0)  # 0 only where no pair at all is called related
    assert "by construction" in table["published_precision"]["protocol"]
    assert table["itm_f1"]["n"] == 6 and table["itm_f1"]["n_unrelated"] == 6
    assert 0 <= table["text_to_image_r1"]["value"] <= table["text_to_image_r10"]["value"] == 1.0  # 6 pictures
    low, high = table["itc_similarity_related_mean"]["ci95"]
    assert low <= table["itc_similarity_related_mean"]["value"] <= high
    again = measure(blip, dataset, seed=0)
    assert again == table


def test_what_cannot_be_measured_is_null_with_a_reason() -> None:
    table = build_table(None, None, seed=0)
    assert {row["value"] for row in table.values()} == {None}
    assert all(row["reason"] for row in table.values())
