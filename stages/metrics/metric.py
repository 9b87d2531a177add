"""One figure as it goes into an artefact: never without how it was got."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Combine = Callable[[np.ndarray], np.ndarray]


class Interval(NamedTuple):
    """Ends of a 95 % interval, in the figure's own unit."""

    low: float
    high: float


class Samples(NamedTuple):
    """What a figure was combined from, so that two figures of the same samples can be resampled together."""

    statistics: np.ndarray
    """(n,S) numbers of each sample."""
    combine: Combine
    """Sums (R,S) of R resamples of n samples -> figures (R,)."""


@dataclass(frozen=True)
class Metric:
    """A figure with its protocol, or the reason why there is none.

    Raises:
        ValueError: a value that is not finite, or neither or both of value and reason.
    """

    value: float | None
    """The figure; None when it is not available."""
    n: int
    """Samples behind it."""
    ci95: Interval | None
    """95 % interval, of a bootstrap but where the protocol says otherwise; None where samples are not what the figure
    varies over, or are all alike and so do not tell how far it may be off."""
    protocol: str
    """How it was got: library, variant, range, unit, pairing."""
    reason: str | None = None
    """Why it is not available, and how to get it."""
    samples: Samples | None = field(default=None, repr=False, compare=False)
    """What it was combined from, where that was kept; no part of the artefact."""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.reason is not None):
            raise ValueError(f"a metric has either a value or a reason, got {self.value} and {self.reason!r}")
        numbers = [self.value, *(self.ci95 or ())]
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise ValueError(f"a metric must be finite, got {self.value} in {self.ci95} ({self.protocol})")

    @classmethod
    def unavailable(cls, reason: str, protocol: str) -> "Metric":
        """The place of a figure that could not be got."""
        return cls(None, 0, None, protocol, reason)

    def to_json(self) -> dict[str, Any]:
        """`{"value", "n", "ci95", "protocol"}`, and `"reason"` when there is no value."""
        entry = {
            "value": self.value,
            "n": self.n,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "protocol": self.protocol,
        }
        return entry if self.reason is None else {**entry, "reason": self.reason}
