"""The nearest of many rows, looked at a part at a time, so that memory does not grow with their number."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Nearest(NamedTuple):
    """For each of n queries the nearest row."""

    rows: np.ndarray
    """(n,) int64, place of the row in all parts together; the first of those that are equally near."""
    distances: np.ndarray
    """(n,) float64, Euclidean."""


def nearest_rows(queries: np.ndarray, parts: Iterable[np.ndarray]) -> Nearest:
    """The row nearest to each of n queries (n,D) float32, by Euclidean distance.

    Args:
        parts: all rows, (m,D) float32 at a time. An equal row is at distance 0.

    Raises:
        ValueError: there are no rows.
    """
    found = Nearest(np.full(len(queries), -1), np.full(len(queries), np.inf))
    own_squares = (queries**2).sum(axis=1, dtype=np.float64)
    first = 0
    for part in parts:
        products = queries @ part.T  # (n,m)
        squares = own_squares[:, None] + (part**2).sum(axis=1, dtype=np.float64) - 2.0 * products
        places = squares.argmin(axis=1)
        # Sums of squares cancel to a few digits where rows are near: what was found is measured anew.
        distances = np.sqrt(((queries - part[places]) ** 2).sum(axis=1, dtype=np.float64))
        nearer = distances < found.distances
        found = Nearest(np.where(nearer, first + places, found.rows), np.where(nearer, distances, found.distances))
        first += len(part)
    if first == 0:
        raise ValueError("there is no row to be near to")
    return found
