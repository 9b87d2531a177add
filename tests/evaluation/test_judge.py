from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.config import RunConfig
from stages.data import PreparedSet, Record, to_tensor
from stages.errors import StageError
from stages.evaluation import load_judge
from stages.evaluation.judge import Judge, JudgeSizes, read_pictures, save_judge
from stages.evaluation.judge_module import JudgeBatch, TrainPictures, disturb, judge_loss
from stages.evaluation.judging import judge_figures, train_judge
from stages.evaluation.labels import attribute_labels
from stages.metrics import Resampling

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220), "yellow": (230, 220, 40)}


def test_labels_are_numbers_of_values_and_minus_one_where_none_applies(toy: PreparedSet) -> None:
    labels = attribute_labels([record.attributes for record in toy.records[:3]], toy.attribute_values or {})
    assert labels.tolist() == [[0, 0, 0], [1, 0, -1], [0, 1, 0]]  # red square, red bar, green square


def test_the_judge_learns_to_read_held_out_pictures(judge: Judge, toy: PreparedSet) -> None:
    figures = judge_figures(judge, toy, "test", Resampling(200, 0))
    assert figures["accuracy_worst"]["value"] >= 0.97 and figures["accuracy_mean"]["n"] == 80
    assert figures["accuracy"]["count"]["n"] == 40  # bars are not counted
    assert figures["train_pictures"] == 320
    test = toy.split("test")
    read = read_pictures(judge, toy.images[test.image_rows], 32)
    bars = np.array(
        [record.attributes is not None and record.attributes["subject"] == "bar" for record in test.records]
    )
    assert ((read[:, 2] == -1) == bars).mean() > 0.95  # it says so where an attribute does not apply


def test_a_combination_never_seen_in_training_is_read_as_well(toy_config: RunConfig, tmp_path: Path) -> None:
    """What stands beside a part must not speak against what is seen of it."""
    values = {"square": list(COLOURS), "bar": list(COLOURS)}
    held_out = [("red", "blue"), ("yellow", "green")]
    pairs = [pair for pair in product(COLOURS, COLOURS) if pair not in held_out] * 16 + held_out * 10
    rng = np.random.default_rng(0)
    pictures = np.full((len(pairs), 16, 16, 3), 100, dtype=np.uint8)
    records = []
    for row, (square, bar) in enumerate(pairs):
        top, left = rng.integers(1, 4), rng.integers(1, 9)
        pictures[row, top : top + 5, left : left + 5] = COLOURS[square]
        pictures[row, 10:13] = COLOURS[bar]
        split = "compositions" if (square, bar) in held_out else "train"
        records.append(Record(row, row, "", "", split, split, {"square": square, "bar": bar}))
    dataset = PreparedSet(Path("toy"), pictures, records, 16, values)
    judge = train_judge(dataset, toy_config, tmp_path)
    assert judge_figures(judge, dataset, "train", Resampling(200, 0))["accuracy_mean_compositions"]["value"] >= 0.9


def test_attributes_that_do_not_apply_leave_their_head_alone(toy: PreparedSet) -> None:
    torch.manual_seed(0)
    judge = Judge(JudgeSizes(16, 4, toy.attribute_values or {}))
    bars = toy.images[1:9:2]
    labels = torch.from_numpy(np.array([[1, colour, -1] for colour in range(4)]))
    judge_loss(judge, JudgeBatch(to_tensor(bars), labels)).backward()
    gradient = judge.evidence.weight.grad
    assert gradient is not None
    subject, colour, count = (rows.abs().sum() for rows in gradient.split([2, 4, 2]))
    assert subject > 0 and colour > 0 and count == 0


def test_a_saved_judge_reads_the_same(judge: Judge, toy: PreparedSet, tmp_path: Path) -> None:
    save_judge(judge, tmp_path)
    loaded = load_judge(tmp_path)
    assert loaded.sizes == judge.sizes and not any(p.requires_grad for p in loaded.parameters())
    assert np.array_equal(read_pictures(loaded, toy.images, 64), read_pictures(judge, toy.images, 64))
    (tmp_path / "judge.safetensors").write_bytes(b"cut short")
    with pytest.raises(StageError, match=r"judge\.safetensors"):
        load_judge(tmp_path)


def test_a_disturbed_picture_is_close_and_repeatable(toy: PreparedSet) -> None:
    image = to_tensor(toy.images[:8])
    first, again = (disturb(image, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == image.shape
    assert 0 < (first - image).abs().mean() < 0.5
    labels = np.arange(12)[:, None]
    pictures = TrainPictures(toy.images, np.arange(8), toy.images[100:104], labels, seed=0)
    rows = np.arange(8)
    assert torch.equal(pictures.batch(rows).image, pictures.batch(rows).image)
    assert not torch.equal(pictures.batch(rows).image, pictures.batch(rows[::-1].copy()).image.flip(0))
    batch = pictures.batch(np.array([9, 2]))  # an example and a train picture
    wanted = to_tensor(toy.images[[101, 2]])
    assert batch.labels.tolist() == [[9], [2]] and (batch.image - wanted).abs().mean() < 0.5


def test_large_pictures_are_read_at_64_pixels() -> None:
    judge = Judge(JudgeSizes(128, 4, {"colour": ["red", "blue"]})).eval()
    assert judge.side == 64
    assert judge.read(torch.zeros(2, 3, 128, 128)).shape == (2, 1)


def test_there_is_no_judge_without_attributes(toy: PreparedSet, toy_config: RunConfig, tmp_path: Path) -> None:
    plain = PreparedSet(toy.directory, toy.images, toy.records, toy.image_size, None)
    assert train_judge(plain, toy_config, tmp_path) is None
    assert judge_figures(None, plain, "test", Resampling(200, 0))["accuracy_mean"]["value"] is None
