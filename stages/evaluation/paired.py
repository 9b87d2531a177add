"""The prior minus each other system on the same prompts, which tells smaller differences apart than two intervals."""

from stages.evaluation.compared import COMPARED
from stages.evaluation.comparison import Scores
from stages.evaluation.headlines import HEADLINES
from stages.metrics import Metric, Resampling, bootstrap_difference

OURS = "prior"


def paired_differences(systems: Scores, resampling: Resampling) -> Scores:
    """The prior's headline metrics minus those of the baseline and of each control: by that other, by metric.

    Every metric is in its own unit; where lower is better, below 0 is better. n counts pairs.
    """
    others = [name for name, compared in COMPARED.items() if compared.role != "ceiling" and name != OURS]
    return {
        other: {
            name: _difference(systems[OURS][name], systems[other][name], resampling)
            for name in HEADLINES
            if name in systems[OURS] and name in systems[other]
        }
        for other in others
    }


def _difference(ours: Metric, other: Metric, resampling: Resampling) -> Metric:
    protocol = f"the prior's minus the other's, both resampled together, prompt by prompt; {ours.protocol}"
    reason = ours.reason or other.reason
    if reason is not None:
        return Metric.unavailable(reason, protocol)
    if ours.value is None or other.value is None or ours.samples is None or other.samples is None or ours.n != other.n:
        return Metric.unavailable("it has no value for each sample of both", protocol)
    interval = bootstrap_difference(ours.samples, other.samples, resampling)
    return Metric(ours.value - other.value, ours.n, interval, protocol)
