"""How far the figures of the systems that paint depend on the seed of the painting."""

import statistics
from typing import Any

from stages.evaluation.comparison import Comparison, Scores
from stages.evaluation.headlines import HEADLINES
from stages.evaluation.prompts import Prompts


def seeds_section(comparison: Comparison, prompts: Prompts, first: Scores) -> dict[str, Any]:
    """By system, by headline metric: `values` by seed, their `mean` and their `standard_deviation` (of n - 1).

    Args:
        first: scores of the first seed, which is that of the comparison.
    """
    count, start = comparison.section.seeds, comparison.drawing_seed
    if count == 1:
        return {"reason": "evaluation.seeds is 1"}
    by_seed = {start: first} | {seed: comparison.score_seed(prompts, seed) for seed in range(start + 1, start + count)}
    painting = by_seed[start + 1]
    section = {system: {name: _spread(by_seed, system, name) for name in HEADLINES} for system in painting}
    return {
        system: {name: spread for name, spread in metrics.items() if spread is not None}
        for system, metrics in section.items()
    }


def _spread(by_seed: dict[int, Scores], system: str, name: str) -> dict[str, Any] | None:
    """None where the metric is not available."""
    found = {str(seed): scores[system][name].value for seed, scores in by_seed.items() if name in scores[system]}
    values = [value for value in found.values() if value is not None]
    if len(values) < len(by_seed):
        return None
    return {"mean": statistics.mean(values), "standard_deviation": statistics.stdev(values), "values": found}
