"""Which rows are seen when: a pure function of the seed and the batch's number."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from stages.errors import StageError


class Batches(IterableDataset[Any]):
    """Endless batches; which rows batch number n (from 0) holds is a pure function of (seed, n).

    A step of `fit` takes the next `accumulate` of them: with one, batch s is that of step s.

    Every row is drawn once per epoch, in an order of its own for each epoch; a batch may straddle two epochs, so each
    has exactly `batch_size` rows, also when there are fewer rows than that.

    Args:
        make_batch: row numbers (int64, (batch_size,)) -> the batch.
        count: number of rows.
    """

    def __init__(self, make_batch: Callable[[np.ndarray], Any], count: int, batch_size: int, seed: int) -> None:
        if count < 1:
            raise StageError("there is nothing to train on: the train split is empty; check `data`")
        self.make_batch, self.count, self.batch_size, self.seed = make_batch, count, batch_size, seed
        self.start = 0  # number of the first batch to yield

    def rows(self, number: int) -> np.ndarray:
        """Row numbers of the batch of that number, int64 (batch_size,)."""
        wanted = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        epochs, places = wanted // self.count, wanted % self.count
        rows = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            order = np.random.default_rng((self.seed, int(epoch))).permutation(self.count)
            rows[epochs == epoch] = order[places[epochs == epoch]]
        return rows

    def __iter__(self) -> Iterator[Any]:
        number = self.start
        while True:
            yield self.make_batch(self.rows(number))
            number += 1


class Sweep:
    """Every row once, in batches, as often as it is gone through: for validating and measuring.

    A row that would be a batch by itself goes with the one before: controls give each row what belongs to another.

    Args:
        make_batch: row numbers (int64, (b,)) -> the batch.
        count: number of rows.
        mixed: go through the rows in a fixed random order, so that neighbours are of different kinds.
    """

    def __init__(
        self, make_batch: Callable[[np.ndarray], Any], count: int, batch_size: int, mixed: bool = False
    ) -> None:
        self.make_batch, self.batch_size = make_batch, batch_size
        self.order = np.random.default_rng(0).permutation(count) if mixed else np.arange(count)

    def __iter__(self) -> Iterator[Any]:
        count = len(self.order)
        starts = [start for start in range(0, count, self.batch_size) if start == 0 or count - start > 1]
        for start, end in pairwise([*starts, count]):
            yield self.make_batch(self.order[start:end])
