"""Shifted views: the same picture a little moved, for training alone."""

from pathlib import Path

import numpy as np
import torch

from stages.__main__ import parse_config
from stages.blip import load_features
from stages.codes import CodeStore
from stages.codes.views import VIEWS, shift_pictures
from stages.data import load_dataset, to_tensor
from stages.vqvae import load_vqvae
from stages.workspace import Workspace


def test_a_view_is_the_picture_moved_with_its_border_repeated() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    moved = shift_pictures(pictures, np.arange(40), view=1, shift=2, seed=3)
    moves = set()
    for picture, view in zip(pictures, moved, strict=True):
        rows, columns = np.arange(8), np.arange(8)
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(view, picture[(rows + down).clip(0, 7)][:, (columns + right).clip(0, 7)])
        ]
        assert len(matches) == 1
        moves.update(matches)
    assert len(moves) > 15  # of 25
    assert np.array_equal(moved[7:9], shift_pictures(pictures[7:9], np.arange(7, 9), view=1, shift=2, seed=3))
    assert not np.array_equal(moved, shift_pictures(pictures, np.arange(40), view=2, shift=2, seed=3))


def test_views_are_stored_beside_train_and_no_other_split(tiny_run: Path, viewed_run: list[str]) -> None:
    made, viewed = (Workspace(parse_config("codes", options)) for options in (["--config", str(tiny_run)], viewed_run))
    original, store = (CodeStore.open(workspace.directory("codes")) for workspace in (made, viewed))
    assert VIEWS not in original.splits
    assert store.splits == (*original.splits, VIEWS)
    for name in original.splits:
        assert np.array_equal(store.read(name).top, original.read(name).top)
    learnt, train = store.read_train(), original.read("train")
    count = len(train)
    assert len(learnt) == 3 * count
    assert np.array_equal(learnt.record_rows, np.tile(train.record_rows, 3))
    assert not np.array_equal(learnt.bottom[:count], learnt.bottom[count : 2 * count])
    assert not np.array_equal(learnt.bottom[count : 2 * count], learnt.bottom[2 * count :])
    dataset = load_dataset(viewed.directory("data"))
    row = int(dataset.split("train").image_rows[5])
    moved = shift_pictures(dataset.images[row : row + 1], np.array([row]), view=1, shift=3, seed=viewed.config.seed)
    embedding = torch.from_numpy(load_features(viewed.directory("blip")).image_pooled[row : row + 1].copy())
    expected = load_vqvae(viewed.directory("vqvae")).encode(to_tensor(moved), embedding)
    assert np.array_equal(learnt.bottom[2 * count + 5], expected.bottom[0].numpy())
