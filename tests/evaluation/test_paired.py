from dataclasses import replace

import numpy as np
import pytest

from stages.evaluation.compared import COMPARED
from stages.evaluation.comparison import Scores
from stages.evaluation.paired import paired_differences
from stages.metrics import Metric, Resampling, mean_metric

RESAMPLING = Resampling(300, 0)


def metric(values: np.ndarray) -> Metric:
    return mean_metric(values, "mean of made-up values", RESAMPLING)


@pytest.fixture
def systems() -> Scores:
    """The prior a little better than each other system at every prompt, over prompts of very different difficulty."""
    rng = np.random.default_rng(0)
    prior = rng.uniform(0, 1, 200)
    scores = {name: {"itc_cosine": metric(prior - 0.02 - rng.normal(0, 0.01, 200))} for name in COMPARED}
    return {**scores, "prior": {"itc_cosine": metric(prior)}}


def test_a_difference_smaller_than_the_intervals_shows_in_pairs(systems: Scores) -> None:
    found = paired_differences(systems, RESAMPLING)["diffusion"]["itc_cosine"]
    ours, theirs = systems["prior"]["itc_cosine"], systems["diffusion"]["itc_cosine"]
    assert ours.ci95 is not None and theirs.ci95 is not None and found.ci95 is not None
    assert theirs.ci95.high > ours.ci95.low  # apart they overlap
    assert found.value == pytest.approx(0.02, abs=0.003) and found.n == 200
    assert 0.015 < found.ci95.low < (found.value or 0) < found.ci95.high < 0.025
    assert "mean of made-up values" in found.protocol


def test_every_system_but_the_ceilings_stands_against_the_prior(systems: Scores) -> None:
    found = paired_differences(systems, RESAMPLING)
    assert set(found) == set(COMPARED) - {"prior", "reconstruction", "real"}


def test_what_has_no_pairs_has_a_reason(systems: Scores) -> None:
    systems["diffusion"]["itc_cosine"] = Metric.unavailable("there is no baseline", "none")
    systems["retrieval"]["itc_cosine"] = metric(np.zeros(199))
    systems["random_train"]["itc_cosine"] = replace(systems["random_train"]["itc_cosine"], samples=None)
    found = {other: metrics["itc_cosine"] for other, metrics in paired_differences(systems, RESAMPLING).items()}
    assert found["diffusion"].reason == "there is no baseline"
    for other in ("retrieval", "random_train"):
        assert found[other].value is None and "each sample of both" in str(found[other].reason)
    assert found["mean_picture"].value is not None
