"""Splits pictures into train, val and test, by group: what belongs together stays on one side."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.errors import StageError


class TooFewGroups(StageError):
    """There are not enough groups for every split to have one."""


class Ties:
    """Which of `count` pictures belong together, through others too (union-find)."""

    def __init__(self, count: int) -> None:
        self._parents = array("q", range(count))

    def root(self, row: int) -> int:
        """The picture that stands for this one and all that are tied to it: the first of them."""
        parents = self._parents
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    def tie(self, one: int, two: int) -> None:
        """From now on these two, and all that are tied to either, belong together."""
        first, second = sorted((self.root(one), self.root(two)))
        self._parents[second] = first

    def roots(self) -> NDArray[np.int64]:
        """(N,) the root of every picture."""
        return np.fromiter(map(self.root, range(len(self._parents))), dtype=np.int64, count=len(self._parents))

    def copy(self) -> "Ties":
        """The same ties, to be added to apart from these."""
        other = Ties(0)
        other._parents = self._parents[:]
        return other


def name_groups(keys: Iterable[Sequence[str]], ties: Ties) -> list[str]:
    """The name of each picture's group: the smallest key of all pictures in it. Pictures that share a key are tied.

    Args:
        keys: for each picture what names it: its groups, or else the picture itself; at least one.
        ties: what else ties pictures.
    """
    first_with: dict[str, int] = {}
    smallest: list[str] = []
    for row, names in enumerate(keys):
        smallest.append(min(names))
        for name in names:
            ties.tie(first_with.setdefault(name, row), row)
    del first_with
    for row, name in enumerate(smallest):
        root = ties.root(row)
        smallest[root] = min(smallest[root], name)
    return [smallest[ties.root(row)] for row in range(len(smallest))]


def split_groups(groups: Sequence[str], fractions: dict[str, float], seed: int) -> dict[str, str]:
    """Group -> its split: `train`, or one of the names in `fractions`; no split is empty.

    Groups are taken in the order of a hash of seed and name, so that the split does not depend on the order of the
    pictures; a group larger than what a split still lacks is passed over.

    Args:
        groups: the group of each picture.
        fractions: split -> share of the pictures (0..1), their sum below 1.

    Raises:
        TooFewGroups: there are fewer groups than splits.
    """
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    if len(sizes) <= len(fractions):
        names = ", ".join(("train", *fractions))
        raise TooFewGroups(
            f"{len(groups)} pictures in {len(sizes)} groups cannot fill the splits {names}: add more groups"
        )
    left = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    splits: dict[str, str] = {}
    for place, (name, fraction) in enumerate(fractions.items()):
        others = len(fractions) - place  # the splits still to be filled after this one, train among them
        splits |= dict.fromkeys(_fill(left, sizes, max(1, round(fraction * len(groups))), len(left) - others), name)
        left = [group for group in left if group not in splits]
    return splits | dict.fromkeys(left, "train")


def _fill(groups: Sequence[str], sizes: dict[str, int], target: int, most: int) -> list[str]:
    """The first groups that fit into `target` pictures, at most `most` of them; the smallest group if none fits."""
    taken: list[str] = []
    count = 0
    for group in groups:
        if len(taken) < most and count + sizes[group] <= target:
            taken.append(group)
            count += sizes[group]
    return taken or [min(groups, key=lambda group: sizes[group])]
