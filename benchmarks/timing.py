"""Two ways of doing the same thing, timed in turn so that a noisy neighbour slows both."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any


def compare(
    settings: dict[str, Any], ours: Callable[[], Any], reference: Callable[[], Any], repeats: int
) -> dict[str, Any]:
    """Median seconds of both over `repeats` alternating runs after one warm-up of each, and reference / ours."""
    return compare_seconds(settings, partial(seconds_of, ours), partial(seconds_of, reference), repeats)


def compare_seconds(
    settings: dict[str, Any], ours: Callable[[], float], reference: Callable[[], float], repeats: int
) -> dict[str, Any]:
    """The same of functions that say themselves how many seconds they took."""
    ours()
    reference()
    times = [(ours(), reference()) for _ in range(repeats)]
    ours_s, reference_s = (statistics.median(taken) for taken in zip(*times, strict=True))
    return {
        "settings": settings,
        "ours_s": ours_s,
        "reference_s": reference_s,
        "ratio": reference_s / ours_s,
        "repeats": repeats,
    }


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median of so many runs after one."""
    function()
    return statistics.median(seconds_of(function) for _ in range(repeats))


def seconds_of(function: Callable[[], Any]) -> float:
    """Of one run."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
