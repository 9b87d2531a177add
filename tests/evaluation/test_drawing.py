from pathlib import Path

import numpy as np
import pytest

from stages.evaluation.drawing import Drawn, draw_pictures, seconds_per_picture
from stages.metrics import Resampling


def _noise(first: int, last: int) -> np.ndarray:
    pictures = [np.random.default_rng(place).integers(0, 256, (8, 8, 3), np.uint8) for place in range(first, last)]
    return np.stack(pictures)


def test_pictures_come_in_order_whatever_the_batch(tmp_path: Path) -> None:
    drawn = draw_pictures(_noise, 7, 3, tmp_path / "a", "noise")
    assert np.array_equal(drawn.pictures, _noise(0, 7))
    assert np.array_equal(drawn.pictures, draw_pictures(_noise, 7, 5, tmp_path / "b", "noise").pictures)
    assert drawn.batches[:, 1].tolist() == [3, 3, 1] and (drawn.batches[:, 0] > 0).all()


def test_the_time_of_a_picture_by_hand() -> None:
    pictures = np.zeros((7, 1, 1, 3), np.uint8)
    metric = seconds_per_picture(Drawn(pictures, np.array([[3.0, 3], [9.0, 3], [2.0, 1]])), Resampling(500, 0))
    assert metric.value == pytest.approx(14 / 7) and metric.n == 7
    assert metric.ci95 is not None and metric.ci95 == pytest.approx((1.0, 3.0))  # the quickest batch, the slowest
    assert metric.protocol.endswith("the interval is over 3 batches")
    once = seconds_per_picture(Drawn(pictures, np.array([[14.0, 7]])), Resampling(500, 0))
    assert (
        once.value == pytest.approx(2.0)
        and once.ci95 is None
        and once.protocol.endswith("in one batch, so without an interval")
    )
    assert seconds_per_picture(Drawn(pictures, np.array([[14.0, 7]])), Resampling(500, 0), "copied").reason == "copied"


def test_a_stopped_run_draws_only_what_is_left(tmp_path: Path) -> None:
    asked = []

    def draw(first: int, last: int) -> np.ndarray:
        if first == 4 and 4 not in asked:
            asked.append(first)
            raise KeyboardInterrupt
        asked.append(first)
        return _noise(first, last)

    with pytest.raises(KeyboardInterrupt):
        draw_pictures(draw, 6, 2, tmp_path, "noise")
    drawn = draw_pictures(draw, 6, 2, tmp_path, "noise")
    assert asked == [0, 0, 2, 4, 4, 4]  # each time one picture first, so that nothing is compiled while it counts
    assert np.array_equal(drawn.pictures, _noise(0, 6))
