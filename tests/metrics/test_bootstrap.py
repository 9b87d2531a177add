import math

import numpy as np
import pytest

from stages.metrics import (
    Resampling,
    Samples,
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_rows,
    bootstrap_together,
    combined_metric,
    mean_metric,
)


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
    # A ratio of sums: nearly 1/2, whatever is drawn.
    statistics = np.stack([np.arange(1, 21), 2 * np.arange(1, 21)], axis=1) + np.array([1e-6, 0])
    interval = bootstrap_interval(statistics, lambda sums: sums[:, 0] / sums[:, 1], Resampling(200, 0))
    assert interval == pytest.approx((0.5, 0.5), abs=1e-6)


def test_samples_that_are_all_alike_do_not_say_how_far_the_figure_may_be_off() -> None:
    statistics = np.stack([np.arange(1, 21), 2 * np.arange(1, 21)], axis=1)
    assert bootstrap_interval(statistics, lambda sums: sums[:, 0] / sums[:, 1], Resampling(200, 0)) is None
    assert mean_metric(np.full(7, 0.1), "", Resampling(200, 0)).ci95 is None
    assert mean_metric(np.array([0.3]), "", Resampling(200, 0)).ci95 is None


@pytest.mark.parametrize(("count", "least"), [(1, 0.025), (5, 0.4782), (100, 0.9638)])
def test_answers_that_are_all_the_same_have_the_exact_interval(count: int, least: float) -> None:
    resampling = Resampling(200, 0)
    always, never = (mean_metric(np.full(count, answer), "", resampling).ci95 for answer in (True, False))
    assert always == pytest.approx((least, 1), abs=1e-4) and never == pytest.approx((0, 1 - least), abs=1e-4)
    thrice = resampling.of_pictures(np.repeat(np.arange(count), 3))
    assert mean_metric(np.ones(3 * count, dtype=bool), "", thrice).ci95 == pytest.approx(always)


def test_what_is_of_one_picture_is_drawn_together() -> None:
    rng = np.random.default_rng(5)
    values, resampling = rng.normal(size=60), Resampling(300, 0)
    alone = mean_metric(values, "mean", resampling)
    pictures = np.repeat(rng.permutation(60), 4)  # in any order
    together = mean_metric(values[pictures], "mean", resampling.of_pictures(pictures))
    assert together.ci95 == pytest.approx(alone.ci95) and together.n == 240
    assert together.protocol == "mean; what is of one picture is resampled together" and alone.protocol == "mean"
    by_rows = bootstrap_rows(lambda rows: values[pictures][rows].mean(), 240, resampling.of_pictures(pictures))
    assert by_rows == pytest.approx(alone.ci95)
    assert resampling.of_pictures(np.arange(60)) == resampling
    with pytest.raises(ValueError, match="known of 240 samples what is drawn together, got 60"):
        mean_metric(values, "", resampling.of_pictures(pictures))


def test_the_interval_of_pictures_with_several_captions_covers_the_true_mean_19_times_of_20() -> None:
    rng, covered = np.random.default_rng(6), 0
    for trial in range(200):
        pictures = np.repeat(np.arange(60), rng.integers(1, 6, 60))  # of one to five captions
        values = 3 + rng.normal(size=60)[pictures] + 0.3 * rng.normal(size=len(pictures))
        low, high = mean_metric(values, "", Resampling(300, trial).of_pictures(pictures)).ci95 or (0.0, 0.0)
        covered += low <= 3 <= high
    assert 176 <= covered <= 199


def test_samples_that_belong_together_are_drawn_together() -> None:
    def mean(sums: np.ndarray) -> np.ndarray:
        return sums[:, 0] / 40

    values = np.random.default_rng(3).normal(0, 10, (40, 1))
    better, shuffled = Samples(values + 0.5, mean), Samples(values[::-1] + 0.5, mean)
    plain = Samples(values, mean)
    assert bootstrap_difference(better, plain, Resampling(200, 0)) is None  # always 0.5
    low, high = bootstrap_difference(shuffled, plain, Resampling(200, 0)) or (0.0, 0.0)
    assert low < -1 and high > 2  # the same values, no longer side by side
    ratio = Samples(np.concatenate([values, 2 * values], axis=1), lambda sums: sums[:, 1] / sums[:, 0])
    assert bootstrap_difference(ratio, ratio, Resampling(200, 0)) is None
    with pytest.raises(ValueError, match="as many samples of both, got 40 and 39"):
        bootstrap_difference(plain, Samples(values[1:], mean), Resampling(200, 0))


def test_a_mean_of_figures_of_the_same_samples_varies_as_their_mean_does() -> None:
    def mean(sums: np.ndarray) -> np.ndarray:
        return sums[:, 0] / 40

    first, second = np.random.default_rng(4).normal(0, 10, (2, 40, 1))
    together = bootstrap_together(
        [Samples(first, mean), Samples(second, mean)], lambda figures: np.mean(figures, axis=0), Resampling(200, 0)
    )
    assert together == pytest.approx(mean_metric((first + second)[:, 0] / 2, "", Resampling(200, 0)).ci95)
    opposite = bootstrap_together(
        [Samples(first, mean), Samples(-first, mean)], lambda figures: np.mean(figures, axis=0), Resampling(200, 0)
    )
    assert opposite is None  # always 0


def test_what_is_combined_from_all_samples_by_hand() -> None:
    statistics = np.array([[1, 2], [1, 4], [2, 2]])
    metric = combined_metric(Samples(statistics, lambda sums: sums[:, 0] / sums[:, 1]), "ratio", Resampling(200, 0))
    assert metric.value == 0.5 and metric.n == 3 and metric.protocol == "ratio"
    assert metric.ci95 is not None and 0.25 <= metric.ci95.low < 0.5 < metric.ci95.high <= 1  # alone: 1/2, 1/4 and 1


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    values = np.random.default_rng(1).random(50)
    first, again, other = (mean_metric(values, "", Resampling(200, seed)).ci95 for seed in (5, 5, 6))
    assert first == again != other


def test_no_samples_and_infinite_ones_have_no_mean() -> None:
    assert "no samples" in str(mean_metric(np.zeros(0), "", Resampling(200, 0)).reason)
    assert "infinite" in str(mean_metric(np.array([1.0, np.inf]), "", Resampling(200, 0)).reason)


def test_rows_and_sums_give_the_same_interval_of_a_mean() -> None:
    values, resampling = np.random.default_rng(2).random(37), Resampling(250, 3)
    by_sums = mean_metric(values, "", resampling).ci95
    by_rows = bootstrap_rows(lambda rows: float(values[rows].mean()), len(values), resampling)
    assert by_rows == pytest.approx(by_sums, abs=1e-12)


def test_the_interval_of_a_median_has_the_width_that_order_statistics_give() -> None:
    values = np.arange(401.0)  # the median of n evenly spaced values has a standard deviation of sqrt(n) / 2
    interval = bootstrap_rows(lambda rows: float(np.median(values[rows])), len(values), Resampling(1000, 0))
    assert interval == pytest.approx((200 - 1.96 * 10.0, 200 + 1.96 * 10.0), abs=2.5)


def test_a_resample_is_as_large_as_the_sample_and_drawn_with_repeats() -> None:
    seen: list[np.ndarray] = []

    def share(rows: np.ndarray) -> float:
        seen.append(rows)
        return float((rows < 5).mean())

    bootstrap_rows(share, 10, Resampling(130, 0))
    assert len(seen) == 130 and {len(rows) for rows in seen} == {10}
    assert all(rows.dtype == np.int64 and rows.min() >= 0 and rows.max() <= 9 for rows in seen)
    distinct = np.mean([len(np.unique(rows)) for rows in seen])
    assert distinct == pytest.approx(10 * (1 - 0.9**10), abs=0.3)


def test_resamples_without_a_figure_are_left_out() -> None:
    related = np.array([True, False, False])  # often a resample has only one kind

    def share(rows: np.ndarray) -> float:
        return float(related[rows].mean()) if 0 < related[rows].sum() < 3 else math.nan

    assert bootstrap_rows(share, 3, Resampling(200, 0)) == pytest.approx((1 / 3, 2 / 3))
    with pytest.raises(ValueError, match="has a figure"):
        bootstrap_rows(lambda rows: math.nan, 3, Resampling(200, 0))
    with pytest.raises(ValueError, match="at least one sample"):
        bootstrap_rows(lambda rows: 1.0, 0, Resampling(200, 0))
