"""Bootstrap 95 % intervals: of what sums over samples give (means, shares, corpus BLEU), and of what they do not.

Where all resamples are alike, as of one sample or of samples that are all alike, there is None: such resamples do not
say how far a figure may be off, and an interval without width would say that it is certain.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from stages.metrics.metric import Combine, Interval, Metric, Samples

Statistic = Callable[[np.ndarray], float]
CombinePair = Callable[[np.ndarray, np.ndarray], np.ndarray]
CombineFigures = Callable[[list[np.ndarray]], np.ndarray]
_REPEATS_AT_A_TIME = 100
_KEPT_NUMBERS = 2_000_000  # 16 MB of draws, four times over at most
_NO_WIDTH = 1e-12  # what rounding leaves of it, as a share of its ends
_ROUNDING = 1e-14  # and what it leaves of 0
_UNANIMOUS = "all samples alike: the interval is Clopper and Pearson's"


class Resampling(NamedTuple):
    """How resamples are drawn; the same for every system, so that their intervals are over the same resamples."""

    repeats: int
    """Number of resamples."""
    seed: int
    """Seed of their draw."""
    together: np.ndarray | None = None
    """(n,) int64 from 0 on, equal where samples are drawn together; None: each by itself."""

    def of_pictures(self, pictures: Sequence[str] | np.ndarray) -> "Resampling":
        """The same with the samples of one picture, such as its captions, drawn together: a cluster bootstrap.

        What shows the same picture is no evidence of its own, and intervals that take it for that are too narrow.

        Args:
            pictures: (n,), equal where samples are of the same picture.
        """
        different, clusters = np.unique(pictures, return_inverse=True)
        return self._replace(together=None if len(different) == len(pictures) else clusters)

    def independent(self, count: int) -> int:
        """How many of `count` samples are independent: all, or as many as there are pictures."""
        return count if self.together is None else int(self.together.max()) + 1

    def said_of(self, protocol: str) -> str:
        """The protocol with what is unusual about the resamples."""
        return protocol if self.together is None else f"{protocol}; what is of one picture is resampled together"


def bootstrap_interval(statistics: np.ndarray, combine: Combine, resampling: Resampling) -> Interval | None:
    """Percentile bootstrap 95 % interval (Efron 1979) of `combine(sum of the samples' statistics)`.

    Args:
        statistics: (n,S) numbers of each sample.
        combine: sums (R,S) of R resamples of n samples -> figures (R,); resamples where it is NaN are left out.

    Raises:
        ValueError: there are no samples, or no resample has a figure.
    """
    samples = np.asarray(statistics, dtype=np.float64)
    return _middle([combine(times_drawn @ samples) for times_drawn in _draws(len(samples), resampling)])


def bootstrap_difference(first: Samples, second: Samples, resampling: Resampling) -> Interval | None:
    """Interval of the first figure minus the second, whose samples i are drawn together: a paired bootstrap.

    Raises:
        ValueError: they are not of as many samples, there are none, or no resample has both figures.
    """
    counts = len(first.statistics), len(second.statistics)
    if counts[0] != counts[1]:
        raise ValueError(f"a paired bootstrap needs as many samples of both, got {counts[0]} and {counts[1]}")
    return bootstrap_together([first, second], lambda figures: figures[0] - figures[1], resampling)


def bootstrap_together(parts: Sequence[Samples], combine: CombineFigures, resampling: Resampling) -> Interval | None:
    """Interval of what is made of several figures, whose samples i are drawn together.

    Args:
        parts: what each figure is combined from, of as many samples each.
        combine: figures of R resamples, an array (R,) for each part -> figures (R,).

    Raises:
        ValueError: they are not of as many samples, there are none, or no resample has every figure.
    """
    ends = np.cumsum([part.statistics.shape[1] for part in parts])
    together = np.concatenate([part.statistics for part in parts], axis=1, dtype=np.float64)

    def of_sums(sums: np.ndarray) -> np.ndarray:
        columns = np.split(sums, ends[:-1], axis=1)
        return combine([part.combine(own) for part, own in zip(parts, columns, strict=True)])

    return bootstrap_interval(together, of_sums, resampling)


def bootstrap_rows(statistic: Statistic, count: int, resampling: Resampling) -> Interval | None:
    """Percentile bootstrap 95 % interval (Efron 1979) of a statistic that no sums give, as a median or an ROC-AUC.

    The resamples are those that `bootstrap_interval` draws of as many samples; only the way to the figure is longer.

    Args:
        statistic: row numbers (n,) int64 of a resample, ascending, with repeats -> its figure; NaN leaves it out.
        count: number n of samples.

    Raises:
        ValueError: there are no samples, or no resample has a figure.
    """
    rows = np.arange(count)
    return _middle(
        [
            np.array([statistic(np.repeat(rows, times)) for times in times_drawn], dtype=np.float64)
            for times_drawn in _draws(count, resampling)
        ]
    )


def resampled_pairs(combine: CombinePair, first: int, second: int, resampling: Resampling) -> np.ndarray:
    """Figures (R,) of R resamples of two sets, of `first` and `second` samples, drawn independently of each other.

    Args:
        combine: how often each sample of either set is drawn, (r,n) and (r,m) int64 -> figures (r,).
    """
    draws = zip(_draws(first, resampling), _draws(second, resampling._replace(seed=resampling.seed + 1)), strict=True)
    return np.concatenate([combine(left, right) for left, right in draws])


def percentile_interval(figures: np.ndarray) -> Interval | None:
    """The middle 95 % of the figures (R,) of resamples; NaN is left out.

    Raises:
        ValueError: no resample has a figure.
    """
    return _middle([figures])


def normal_interval(value: float, figures: np.ndarray) -> Interval:
    """`value` and 1.96 standard deviations of the figures (R,) of resamples to either side, none below 0.

    For a distance that is the larger the fewer different samples there are: its resamples, which repeat samples, lie
    above it, so that their percentiles would miss it, but they are spread as it is (Efron and Tibshirani 1993, ch. 13).
    """
    half = 1.96 * float(np.std(figures, ddof=1))
    return Interval(max(0.0, value - half), value + half)


def mean_metric(values: np.ndarray, protocol: str, resampling: Resampling) -> Metric:
    """The mean of per-sample values (n,) with its interval; not available when there are none or one is infinite.

    Of answers (bool) that are all yes or all no the interval is Clopper and Pearson's (1934), and the protocol says so.
    """
    answers = values.dtype == bool
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        return Metric.unavailable("there are no samples", protocol)
    if not np.isfinite(values).all():
        return Metric.unavailable("it is infinite for at least one sample", protocol)
    counted = np.stack([values, np.ones_like(values)], axis=1)  # of clusters, resamples have more or fewer samples
    metric = combined_metric(Samples(counted, lambda sums: sums[:, 0] / sums[:, 1]), protocol, resampling)
    if answers and metric.value in (0.0, 1.0):
        interval = _exact_interval(metric.value, resampling.independent(len(values)))
        return replace(metric, ci95=interval, protocol=f"{metric.protocol}; {_UNANIMOUS}")
    return metric


def combined_metric(samples: Samples, protocol: str, resampling: Resampling) -> Metric:
    """What is combined from all samples, with its interval.

    Raises:
        ValueError: there are no samples, or what is combined of them is not finite.
    """
    statistics, combine = samples
    value = float(combine(statistics.sum(axis=0, keepdims=True, dtype=np.float64))[0])
    interval = bootstrap_interval(*samples, resampling)
    return Metric(value, len(statistics), interval, resampling.said_of(protocol), samples=samples)


def _exact_interval(share: float, count: int) -> Interval:
    """Clopper and Pearson's 95 % interval of a share of `count` independent answers."""
    from scipy.stats import binomtest  # heavy, and seldom needed

    found = binomtest(round(share * count), count).proportion_ci(confidence_level=0.95, method="exact")
    return Interval(float(found.low), float(found.high))


def _draws(count: int, resampling: Resampling) -> Iterable[np.ndarray]:
    """How often each of n samples is drawn, (R,n) int64, a few resamples at a time."""
    repeats, seed, together = resampling
    if count == 0:
        raise ValueError("a bootstrap interval needs at least one sample")
    if together is None:
        return _draw_evenly(count, repeats, seed)
    if len(together) != count:
        raise ValueError(f"it is known of {len(together)} samples what is drawn together, got {count}")
    return (times_drawn[:, together] for times_drawn in _draw_evenly(resampling.independent(count), repeats, seed))


def _draw_evenly(count: int, repeats: int, seed: int) -> Iterable[np.ndarray]:
    kept = count * repeats <= _KEPT_NUMBERS
    return _keep_draws(count, repeats, seed) if kept else _make_draws(count, repeats, seed)


@lru_cache(maxsize=4)
def _keep_draws(count: int, repeats: int, seed: int) -> tuple[np.ndarray, ...]:
    """Hundreds of figures of as many samples are resampled alike, and drawing takes longer than combining."""
    draws = tuple(_make_draws(count, repeats, seed))
    for times_drawn in draws:
        times_drawn.flags.writeable = False
    return draws


def _make_draws(count: int, repeats: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for start in range(0, repeats, _REPEATS_AT_A_TIME):
        size = min(_REPEATS_AT_A_TIME, repeats - start)
        yield rng.multinomial(count, np.full(count, 1 / count), size=size)


def _middle(figures: list[np.ndarray]) -> Interval | None:
    """The middle 95 % of figures (R,) in parts, NaN left out; None where it has no width."""
    found = np.concatenate(figures)
    found = found[~np.isnan(found)]
    if len(found) == 0:
        raise ValueError("a bootstrap interval needs at least one resample that has a figure, got NaN for all")
    low, high = (float(end) for end in np.quantile(found, [0.025, 0.975]))
    return Interval(low, high) if high - low > max(_ROUNDING, _NO_WIDTH * max(abs(low), abs(high))) else None
