"""Bootstrap 95 % intervals of whatever can be computed from sums over samples: means, shares, corpus BLEU."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.metrics.metric import Interval, Metric

Combine = Callable[[np.ndarray], np.ndarray]
_REPEATS_AT_A_TIME = 100


class Resampling(NamedTuple):
    """How resamples are drawn; the same for every system, so that their intervals are over the same resamples."""

    repeats: int
    """Number of resamples."""
    seed: int
    """Seed of their draw."""


def bootstrap_interval(statistics: np.ndarray, combine: Combine, resampling: Resampling) -> Interval:
    """Percentile bootstrap 95 % interval (Efron 1979) of `combine(sum of the samples' statistics)`.

    Args:
        statistics: (n,S) numbers of each sample.
        combine: sums (R,S) of R resamples of n samples -> figures (R,); resamples where it is NaN are left out.

    Raises:
        ValueError: there are no samples.
    """
    count = len(statistics)
    if count == 0:
        raise ValueError("a bootstrap interval needs at least one sample")
    rng = np.random.default_rng(resampling.seed)
    figures = []
    for start in range(0, resampling.repeats, _REPEATS_AT_A_TIME):
        size = min(_REPEATS_AT_A_TIME, resampling.repeats - start)
        times_drawn = rng.multinomial(count, np.full(count, 1 / count), size=size)  # (R,n)
        figures.append(combine(times_drawn @ np.asarray(statistics, dtype=np.float64)))
    low, high = np.nanquantile(np.concatenate(figures), [0.025, 0.975])
    return Interval(float(low), float(high))


def mean_metric(values: np.ndarray, protocol: str, resampling: Resampling) -> Metric:
    """The mean of per-sample values (n,) with its interval; not available when there are none or one is infinite."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        return Metric.unavailable("there are no samples", protocol)
    if not np.isfinite(values).all():
        return Metric.unavailable("it is infinite for at least one sample", protocol)
    interval = bootstrap_interval(values[:, None], lambda sums: sums[:, 0] / len(values), resampling)
    return Metric(float(values.mean()), len(values), interval, protocol)
