"""How figures are measured: small pure functions over well-kept libraries; every figure with interval and protocol.

No stage: whoever measures uses it, and it knows nobody. Imports nothing heavy.
"""

from stages.metrics.bootstrap import (
    Resampling,
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_rows,
    mean_metric,
)
from stages.metrics.metric import Interval, Metric, Samples
from stages.metrics.scores import caption_scores, unsmoothed_bleu
from stages.metrics.wordnet import Thesaurus, find_thesaurus

__all__ = [
    "Interval",
    "Metric",
    "Resampling",
    "Samples",
    "Thesaurus",
    "bootstrap_difference",
    "bootstrap_interval",
    "bootstrap_rows",
    "caption_scores",
    "find_thesaurus",
    "mean_metric",
    "unsmoothed_bleu",
]
