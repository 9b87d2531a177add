import numpy as np
import pytest

from stages.metrics.nearest import nearest_rows


def split(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_nearest_is_found_whatever_the_parts(size: int) -> None:
    rng = np.random.default_rng(0)
    rows, queries = (rng.normal(size=(count, 48)).astype(np.float32) for count in (150, 40))
    distances = np.sqrt(((queries[:, None].astype(float) - rows[None]) ** 2).sum(-1))
    found = nearest_rows(queries, split(rows, size))
    assert np.array_equal(found.rows, distances.argmin(axis=1))
    assert found.distances == pytest.approx(distances.min(axis=1), abs=1e-5)


def test_equal_rows_are_at_distance_0_and_the_first_of_them_is_taken() -> None:
    rng = np.random.default_rng(1)
    rows = (100 + rng.normal(size=(50, 200))).astype(np.float32)  # sums of squares alone would leave an error of 0.1
    rows[30:] = rows[:20]
    found = nearest_rows(rows[[5, 33, 25]], split(rows, 10))
    assert found.rows.tolist() == [5, 3, 25] and found.distances.tolist() == [0, 0, 0]


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no row"):
        nearest_rows(np.zeros((2, 3), np.float32), [])
