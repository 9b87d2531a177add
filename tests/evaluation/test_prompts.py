from pathlib import Path

import numpy as np

from stages.data import PreparedSet, Record, Split
from stages.evaluation.prompts import choose_prompts, count_seen, derange


def _split(pairs: list[tuple[int, str]]) -> Split:
    records = [Record(n, image, text, f"{image}.png", "test", "g", None) for n, (image, text) in enumerate(pairs)]
    return Split("test", records, np.arange(100, 100 + len(records)))


def test_fewer_prompts_are_the_first_of_more_and_pictures_come_once() -> None:
    split = _split([(n // 3, f"caption {n}") for n in range(60)])  # three captions a picture
    few, many, all_of_them = (choose_prompts(split, count, seed=3) for count in (10, 20, 100))
    assert many.texts[:10] == few.texts and all_of_them.texts[:20] == many.texts
    assert len(all_of_them) == 20 and sorted(all_of_them.image_rows.tolist()) == list(range(20))
    assert [split.records[row - 100] for row in many.record_rows] == many.records
    assert choose_prompts(split, 20, seed=4).texts != many.texts


def test_shuffled_captions_are_of_other_pictures_in_other_words() -> None:
    prompts = choose_prompts(_split([(n % 50, f"Caption {n % 7}") for n in range(100)]), 50, seed=0)
    others = derange(prompts, seed=0)
    assert others is not None and sorted(others.tolist()) == list(range(50))
    again = derange(prompts, seed=0)
    assert again is not None and np.array_equal(others, again)
    for own, other in enumerate(others):
        assert prompts.texts[own] != prompts.texts[other]
        assert prompts.records[own].image != prompts.records[other].image


def test_two_prompts_swap_and_one_or_equal_ones_have_no_other() -> None:
    assert derange(choose_prompts(_split([(0, "a"), (1, "b")]), 2, 0), seed=0).tolist() == [1, 0]  # type: ignore[union-attr]
    assert derange(choose_prompts(_split([(0, "a")]), 1, 0), seed=0) is None
    assert derange(choose_prompts(_split([(0, "a"), (1, "A"), (2, "a")]), 3, 0), seed=0) is None


def test_prompts_whose_picture_is_in_train_too_are_counted() -> None:
    pairs = [(0, "train"), (1, "train"), (1, "test"), (2, "test"), (2, "test")]
    records = [Record(n, image, "", f"{image}.png", split, "g", None) for n, (image, split) in enumerate(pairs)]
    dataset = PreparedSet(Path("toy"), np.zeros((3, 8, 8, 3), np.uint8), records, 8, None)
    assert count_seen(choose_prompts(dataset.split("test"), 3, seed=0), dataset) == 1
