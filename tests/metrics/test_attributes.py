import numpy as np
import pytest

from stages.metrics.attributes import (
    attribute_accuracy,
    attribute_counts,
    attribute_exact,
    attribute_shares,
    attribute_worst,
)

# Four pictures, three attributes; the third belongs to the first two pictures only, a fourth to none.
WANTED = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0]], dtype=bool)
SHOWN = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 0], [1, 0, 1, 0]], dtype=bool)


def test_shares_are_over_the_pictures_that_have_the_attribute() -> None:
    sums = attribute_counts(SHOWN, WANTED).sum(axis=0, keepdims=True)
    assert attribute_shares(sums)[0] == pytest.approx([1.0, 0.5, 0.5, np.nan], nan_ok=True)
    assert attribute_accuracy(sums)[0] == pytest.approx(2 / 3)  # mean of three shares, not 8 of 10
    assert attribute_worst(sums)[0] == 0.5
    assert attribute_exact(SHOWN, WANTED).tolist() == [True, False, True, False]


def test_a_resample_without_any_attribute_has_no_accuracy() -> None:
    assert np.isnan(attribute_accuracy(np.zeros((1, 8)))[0]) and np.isnan(attribute_worst(np.zeros((1, 8)))[0])
