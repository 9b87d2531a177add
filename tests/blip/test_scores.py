"""What is scored: every held-out pair, and its picture with captions that are not true of it."""

import dataclasses

import numpy as np
import pytest
import torch

from stages.blip.blip import Blip
from stages.blip.features import Features
from stages.blip.metrics import image_to_text_ranks, nearest_captions, text_to_image_ranks
from stages.blip.scores import Negatives, PairScores, match_pairs, score_pairs, write_captions
from stages.data import PreparedSet, to_tensor


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several batches for a split of six, the last of them not full."""
    monkeypatch.setattr("stages.blip.scores._BATCH", 4)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The captions that BLIP was asked to match, one list for each kind of pair."""
    lists: list[list[str]] = []

    def spy(blip: Blip, dataset: PreparedSet, image_rows: np.ndarray, captions: list[str], desc: str) -> np.ndarray:
        lists.append(list(captions))
        return match_pairs(blip, dataset, image_rows, captions, desc)

    monkeypatch.setattr("stages.blip.scores.match_pairs", spy)
    return lists


def score(blip: Blip, features: Features, dataset: PreparedSet, seed: int = 0) -> PairScores:
    return score_pairs(blip, features, dataset, dataset.split("test"), seed)


def assert_scored(found: Negatives, blip: Blip, dataset: PreparedSet, captions: list[str]) -> None:
    """Whether these are the scores of the split's pictures with these captions, one by one."""
    image = to_tensor(dataset.images[dataset.split("test").image_rows[found.rows]])
    cosine = (blip.encode_images(image) * blip.encode_text(captions).pooled).sum(1)
    np.testing.assert_allclose(found.scores["itm"], blip.match(image, captions).numpy(), atol=1e-5)
    np.testing.assert_allclose(found.scores["itc"], cosine.numpy(), atol=1e-5)


def test_pairs_are_scored_as_blip_scores_them(blip: Blip, features: Features, dataset: PreparedSet) -> None:
    found = score(blip, features, dataset)
    split = dataset.split("test")
    assert_scored(Negatives(np.arange(6), found.related), blip, dataset, split.captions)
    images, texts = features.image_pooled[split.image_rows], features.text_pooled[split.record_rows]
    assert np.array_equal(found.text_to_image, text_to_image_ranks(texts, images, split.image_rows))
    assert np.array_equal(found.image_to_text, image_to_text_ranks(texts, images, split.image_rows))
    assert len(found.text_to_image) == len(found.image_to_text) == 6


def test_where_contrasts_are_known_they_are_the_hard_captions(
    blip: Blip, features: Features, described: PreparedSet, asked: list[list[str]]
) -> None:
    found = score(blip, features, described)
    contrasts = [record.contrast for record in described.split("test").records if record.contrast]
    assert len(contrasts) == 6 and len(asked) == 3
    assert asked[0] == described.split("test").captions
    assert asked[2] == [contrast.caption for contrast in contrasts]
    assert found.hard.rows.tolist() == list(range(6))
    assert found.hard.attributes == [contrast.attribute for contrast in contrasts]
    assert_scored(found.hard, blip, described, asked[2])
    assert not np.allclose(found.hard.scores["itc"], found.related["itc"])


def test_a_picture_without_a_contrast_has_no_hard_caption(
    blip: Blip, features: Features, described: PreparedSet
) -> None:
    bare = described.split("test").records[2]
    records = [dataclasses.replace(one, contrast=None) if one is bare else one for one in described.records]
    found = score(blip, features, dataclasses.replace(described, records=records))
    assert found.hard.rows.tolist() == [0, 1, 3, 4, 5]
    assert found.hard.attributes is not None and len(found.hard.attributes) == 5


def test_where_none_is_known_the_nearest_captions_of_other_pictures_are_the_hard_ones(
    blip: Blip, features: Features, dataset: PreparedSet, asked: list[list[str]]
) -> None:
    found = score(blip, features, dataset)
    split = dataset.split("test")
    partners = nearest_captions(split.captions, [record.group for record in split.records])
    assert asked[2] == [split.captions[partner] for partner in partners]
    assert found.hard.attributes is None and found.hard.rows.tolist() == list(range(6))
    assert_scored(found.hard, blip, dataset, asked[2])


def test_pictures_of_one_group_are_not_each_others_hard_captions(
    blip: Blip, features: Features, dataset: PreparedSet, asked: list[list[str]]
) -> None:
    rows = dataset.split("test").record_rows
    records = [
        dataclasses.replace(record, group="one") if row in rows[:5] else record
        for row, record in enumerate(dataset.records)
    ]
    grouped = dataclasses.replace(dataset, records=records)
    found = score(blip, features, grouped)
    assert asked[2][:5] == [dataset.records[rows[5]].caption] * 5  # all that is left to them
    assert len(found.hard.rows) == 6


def test_shuffled_captions_are_of_other_pictures_and_say_something_else(
    blip: Blip, features: Features, described: PreparedSet, asked: list[list[str]]
) -> None:
    """Two test pictures show the same in other words: neither may have the other's caption."""
    rows = described.split("test").record_rows
    twin = dataclasses.replace(
        described.records[rows[1]], caption="in other words", attributes=described.records[rows[0]].attributes
    )
    records = [twin if row == rows[1] else record for row, record in enumerate(described.records)]
    twins = dataclasses.replace(described, records=records)
    split = twins.split("test")
    says = {record.caption: record.attributes for record in split.records}
    drawn = set()
    for seed in range(12):
        found = score(blip, features, twins, seed)
        captions = asked[-2]
        assert found.shuffled.rows.tolist() == list(range(6)) and found.shuffled.attributes is None
        for record, caption in zip(split.records, captions, strict=True):
            assert says[caption] != record.attributes
        drawn.add(tuple(captions))
    assert len(drawn) == 12  # the seed decides
    again = score(blip, features, twins, 11)
    assert np.array_equal(again.shuffled.scores["itm"], found.shuffled.scores["itm"])


def test_a_pair_to_which_all_is_related_is_left_out(blip: Blip, features: Features, dataset: PreparedSet) -> None:
    records = [
        dataclasses.replace(record, caption="the same") if record.split == "test" else record
        for record in dataset.records
    ]
    found = score(blip, features, dataclasses.replace(dataset, records=records))
    for negatives in (found.shuffled, found.hard):
        assert len(negatives.rows) == len(negatives.scores["itm"]) == len(negatives.scores["itc"]) == 0
    assert len(found.related["itm"]) == 6


def test_captions_are_written_once_for_a_picture_and_handed_to_each_of_its_pairs(
    blip: Blip, dataset: PreparedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = dataset.split("train")
    seen: list[int] = []
    caption = blip.caption

    def spy(image: torch.Tensor) -> list[str]:
        seen.append(len(image))
        return [f"{number}: {written}" for number, written in enumerate(caption(image), start=sum(seen) - len(image))]

    monkeypatch.setattr(blip, "caption", spy)
    written = write_captions(blip, dataset, split)
    assert sum(seen) == 28 and max(seen) == 4  # 29 pairs of 28 pictures
    assert [int(text.split(":")[0]) for text in written] == split.image_rows.tolist()
    assert written[0] == written[28]
