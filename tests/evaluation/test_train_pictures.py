"""Copies are the data set's own pixels; their mean is the mean."""

from pathlib import Path

import numpy as np
import pytest

from stages.__main__ import parse_config
from stages.data import PreparedSet, load_dataset
from stages.evaluation.prompts import choose_prompts
from stages.evaluation.train_pictures import copy_at_random, copy_nearest, mean_picture, nearest_captions, show_mean
from stages.workspace import Workspace


def train_bytes(dataset: PreparedSet) -> set[bytes]:
    return {dataset.images[row].tobytes() for row in dataset.split("train").unique_images}


def test_the_nearest_by_cosine_is_taken_and_of_ties_the_first() -> None:
    known = np.eye(3, dtype=np.float32)[[2, 0, 1, 0, 1]]
    wanted = np.array([[0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], dtype=np.float32)
    assert nearest_captions(wanted, known).tolist() == [1, 2, 0]
    rounded = known.copy()
    rounded[3, 0] += 1e-7  # the same caption, read in another batch
    assert nearest_captions(wanted, rounded).tolist() == [1, 2, 0]


def test_of_captions_that_are_read_alike_the_first_is_taken_however_many_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    captions = rng.normal(size=(40, 64)).astype(np.float32)
    captions /= np.linalg.norm(captions, axis=1, keepdims=True)
    read_again = captions + rng.normal(scale=1e-8, size=(3, *captions.shape)).astype(np.float32)
    known = np.concatenate([captions, *read_again])
    assert nearest_captions(captions, known).tolist() == list(range(40))
    monkeypatch.setattr("stages.evaluation.train_pictures._AT_ONCE", 7)
    assert nearest_captions(captions, known).tolist() == list(range(40))


def test_retrieval_copies_the_picture_of_the_nearest_train_caption(tiny_run: Path) -> None:
    workspace = Workspace(parse_config("evaluation", ["--config", str(tiny_run)]))
    dataset = load_dataset(workspace.require("data"))
    prompts = choose_prompts(dataset.split("test"), 6, seed=0)
    copied = copy_nearest(workspace, dataset, prompts)(0, 6)
    assert all(picture.tobytes() in train_bytes(dataset) for picture in copied)
    own = choose_prompts(dataset.split("train"), 6, seed=0)  # nothing is nearer to a train caption than itself
    captions = {record.image: record.caption for record in dataset.records}
    for record, picture in zip(own.records, copy_nearest(workspace, dataset, own)(0, 6), strict=True):
        pictures = [dataset.images[row] for row, caption in captions.items() if caption == record.caption]
        assert any(np.array_equal(picture, other) for other in pictures)


def test_a_random_picture_is_of_train_and_depends_on_its_place_and_the_seed_alone(toy: PreparedSet) -> None:
    few, many = (choose_prompts(toy.split("test"), count, seed=0) for count in (10, 60))
    copied = copy_at_random(toy, many, seed=1)(0, 60)
    assert all(picture.tobytes() in train_bytes(toy) for picture in copied)
    assert np.array_equal(copied[:10], copy_at_random(toy, few, seed=1)(0, 10))
    assert np.array_equal(copied[4:9], copy_at_random(toy, many, seed=1)(4, 9))
    assert not np.array_equal(copied, copy_at_random(toy, many, seed=2)(0, 60))


@pytest.mark.parametrize("count", [1, 128, 320])  # fewer than are read at a time, as many, and more
def test_the_mean_picture_is_the_mean_of_its_rows_alone(toy: PreparedSet, count: int) -> None:
    rows = np.arange(320)[::-1][:count]
    wanted = np.rint(toy.images[rows].astype(np.float64).mean(axis=0))
    assert np.array_equal(mean_picture(toy.images, rows), wanted)


def test_the_mean_picture_is_the_same_for_every_prompt(toy: PreparedSet) -> None:
    shown = show_mean(toy)(3, 7)
    assert shown.shape == (4, 16, 16, 3) and shown.dtype == np.uint8
    assert np.array_equal(shown[0], shown[3])
    assert np.array_equal(shown[0], mean_picture(toy.images, np.arange(320)))
