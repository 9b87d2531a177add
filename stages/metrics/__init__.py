"""How figures are measured: small pure functions over well-kept libraries; every figure with interval and protocol.

No stage: whoever measures uses it, and it knows nobody. Imports nothing heavy.
"""

from stages.metrics.bootstrap import (
    Resampling,
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_rows,
    bootstrap_together,
    combined_metric,
    mean_metric,
)
from stages.metrics.metric import Interval, Metric, Samples
from stages.metrics.scores import caption_scores, unsmoothed_bleu
from stages.metrics.table import TABLE, TABLE_REPEATS, Table, figures_of, write_table
from stages.metrics.wordnet import Thesaurus, find_thesaurus

__all__ = [
    "TABLE",
    "TABLE_REPEATS",
    "Interval",
    "Metric",
    "Resampling",
    "Samples",
    "Table",
    "Thesaurus",
    "bootstrap_difference",
    "bootstrap_interval",
    "bootstrap_rows",
    "bootstrap_together",
    "caption_scores",
    "combined_metric",
    "figures_of",
    "find_thesaurus",
    "mean_metric",
    "unsmoothed_bleu",
    "write_table",
]
