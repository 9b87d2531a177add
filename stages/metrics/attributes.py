"""Whether pictures show what their captions say, attribute by attribute. `shown` and `wanted` are (n,A) bool: the judge
sees the captioned value; the attribute belongs to the record at all. What is not wanted never counts."""

from collections.abc import Callable
from typing import Any

import numpy as np


def attribute_counts(shown: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What accuracies are computed from: (n,2A) right, and wanted."""
    return np.concatenate([shown & wanted, wanted], axis=1).astype(np.int64)


def attribute_exact(shown: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which samples (n,) have everything right that is wanted, bool."""
    exact: np.ndarray = (shown | ~wanted).all(axis=1)
    return exact


def attribute_shares(sums: np.ndarray) -> np.ndarray:
    """Share (R,A) of samples that show the captioned value, of sums (R,2A) of counts; NaN where none is wanted."""
    attributes = sums.shape[1] // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        shares: np.ndarray = sums[:, :attributes] / sums[:, attributes:]
    return shares


def attribute_accuracy(sums: np.ndarray) -> np.ndarray:
    """Mean (R,) of the shares over the attributes that are wanted anywhere, in [0,1]."""
    return _over_wanted(sums, np.nanmean)


def attribute_worst(sums: np.ndarray) -> np.ndarray:
    """The lowest share (R,) among the attributes that are wanted anywhere, in [0,1]."""
    return _over_wanted(sums, np.nanmin)


def _over_wanted(sums: np.ndarray, combine: Callable[..., Any]) -> np.ndarray:
    shares = attribute_shares(sums)
    return np.array([combine(row) if np.isfinite(row).any() else np.nan for row in shares])
