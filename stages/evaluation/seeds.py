"""How far the figures of the systems that paint depend on the seed of the painting."""

import statistics
from typing import Any

import numpy as np

from stages.evaluation.comparison import Comparison, Scores
from stages.evaluation.headlines import HEADLINES
from stages.evaluation.prompts import Prompts
from stages.metrics import Metric, Resampling, bootstrap_together


def seeds_section(comparison: Comparison, prompts: Prompts, first: Scores) -> dict[str, Any]:
    """By system, by headline metric: `values` by seed, their `mean` and their `standard_deviation` (of n - 1).

    The interval of the mean is over prompts, whose pictures of all seeds are drawn together.

    Args:
        first: scores of the first seed, which is that of the comparison.
    """
    count, start = comparison.section.seeds, comparison.drawing_seed
    if count == 1:
        return {"reason": "evaluation.seeds is 1"}
    by_seed = {start: first} | {seed: comparison.score_seed(prompts, seed) for seed in range(start + 1, start + count)}
    painting = by_seed[start + 1]
    resampling = comparison.instruments.resampling
    section = {system: {name: _spread(by_seed, system, name, resampling) for name in HEADLINES} for system in painting}
    return {
        system: {name: spread for name, spread in metrics.items() if spread is not None}
        for system, metrics in section.items()
    }


def _spread(by_seed: dict[int, Scores], system: str, name: str, resampling: Resampling) -> dict[str, Any] | None:
    """None where the metric is not available."""
    found = {str(seed): scores[system][name] for seed, scores in by_seed.items() if name in scores[system]}
    values = {seed: metric.value for seed, metric in found.items() if metric.value is not None}
    samples = [metric.samples for metric in found.values() if metric.samples is not None]
    if not len(values) == len(samples) == len(by_seed):
        return None
    first = next(iter(found.values()))
    interval = bootstrap_together(samples, lambda figures: np.mean(figures, axis=0), resampling)
    protocol = (
        f"mean over {len(values)} seeds of the painting, prompts resampled with all their pictures; {first.protocol}"
    )
    return {
        "mean": Metric(statistics.mean(values.values()), first.n, interval, protocol).to_json(),
        "standard_deviation": statistics.stdev(values.values()),
        "values": values,
    }
