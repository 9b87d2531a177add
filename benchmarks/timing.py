"""Two ways of doing the same thing, timed in turn so that a noisy neighbour slows both."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def compare(
    settings: dict[str, Any], ours: Callable[[], Any], reference: Callable[[], Any], repeats: int
) -> dict[str, Any]:
    """Median seconds of both over `repeats` alternating runs after one warm-up of ours, and reference / ours."""
    ours()
    times: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(repeats):
        for name, function in (("ours", ours), ("reference", reference)):
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    ours_s, reference_s = (statistics.median(times[name]) for name in ("ours", "reference"))
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
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
