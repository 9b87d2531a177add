"""Splits pictures into train, val and test, by group: what belongs together stays on one side."""

import hashlib
from collections.abc import Iterable, Sequence

from stages.errors import StageError


class TooFewGroups(StageError):
    """There are not enough groups for every split to have one."""


def merge_groups(memberships: Sequence[Iterable[str]]) -> list[str]:
    """One group name for each picture such that pictures which share any key, through others too, share the name.

    Args:
        memberships: for each picture its keys (its group, the hash of its content, ...), at least one.

    Returns:
        The smallest key of each picture's merged group.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    firsts = []
    for keys in memberships:
        first, *others = keys
        firsts.append(first)
        for other in [first, *others]:
            one, two = sorted((root(first), root(other)))
            parent[two] = one
    return [root(first) for first in firsts]


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
