import numpy as np
import pytest

from stages.metrics import Resampling, bootstrap_interval, mean_metric


def test_the_interval_covers_the_true_mean_19_times_of_20() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        sample = rng.normal(3.0, 1.0, size=100)
        low, high = mean_metric(sample, "", Resampling(300, trial)).ci95 or (0.0, 0.0)
        assert 0.2 < high - low < 0.6  # 2 x 1.96 / sqrt(100) = 0.39
        covered += low <= 3.0 <= high
    assert 176 <= covered <= 199


def test_the_interval_is_of_the_figure_not_of_its_parts() -> None:
    # A ratio of sums: always 1/2, whatever is drawn; a mean of one repeated value: no width.
    statistics = np.stack([np.arange(1, 21), 2 * np.arange(1, 21)], axis=1)
    interval = bootstrap_interval(statistics, lambda sums: sums[:, 0] / sums[:, 1], Resampling(200, 0))
    assert interval == pytest.approx((0.5, 0.5))
    assert mean_metric(np.full(7, 0.25), "", Resampling(200, 0)).ci95 == pytest.approx((0.25, 0.25))


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    values = np.random.default_rng(1).random(50)
    first, again, other = (mean_metric(values, "", Resampling(200, seed)).ci95 for seed in (5, 5, 6))
    assert first == again != other


def test_no_samples_and_infinite_ones_have_no_mean() -> None:
    assert "no samples" in str(mean_metric(np.zeros(0), "", Resampling(200, 0)).reason)
    assert "infinite" in str(mean_metric(np.array([1.0, np.inf]), "", Resampling(200, 0)).reason)
