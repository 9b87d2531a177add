"""Measures what the splits of a prepared set share: held-out pairs that show a picture of train are no test of it."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.config.data import SplitsConfig
from stages.data.placing import ASIDE, Places


def split_facts(
    config: SplitsConfig,
    places: Places,
    exact: NDArray[np.int64],
    near: NDArray[np.int64] | None,
    groups: Sequence[str],
) -> dict[str, Any]:
    """How a set was split and what its splits share, as `splits.json` has it.

    Args:
        places: the split of every pair.
        exact: (N,) one number for all pictures that are equal.
        near: (N,) one number for all that are equal or look the same; None where that was not looked for.
        groups: (N,) one name for all that belong together, for whatever reason.

    Returns:
        `rule`, `official`, `exact_duplicates` and `near_duplicates` (pictures that repeat another; None: not looked
        for), `near_duplicate_bits`, `set_aside` (pictures), and `overlap`: held-out split -> number of its `pairs`,
        how many of them show a picture that train has `exact`, that train has `near`, or one of a `group` in train,
        and all that in `words`.
    """
    distinct = len(np.unique(exact))
    named = [f"{split}_list" for split in ("test", "val") if getattr(config, f"{split}_list")]
    held_out = sorted({split for own in places for split in own} - {"train", ASIDE})
    return {
        "rule": "official" if config.official else "by group, " + " and ".join(named) if named else "by group",
        "official": config.official,
        "exact_duplicates": len(exact) - distinct,
        "near_duplicates": None if near is None else distinct - len(np.unique(near)),
        "near_duplicate_bits": config.near_duplicate_bits,
        "set_aside": sum(ASIDE in own for own in places),
        "overlap": {split: _overlap(split, places, exact, near, groups) for split in held_out},
    }


def _overlap(
    split: str, places: Places, exact: NDArray[np.int64], near: NDArray[np.int64] | None, groups: Sequence[str]
) -> dict[str, Any]:
    """How many pairs of the split show a picture of train: exactly, else nearly, else one of the same group."""
    learnt = np.array(["train" in own for own in places])
    in_train = set(itertools.compress(groups, learnt))
    kinds = {"exact": np.isin(exact, exact[learnt])}
    if near is not None:
        kinds["near"] = np.isin(near, near[learnt])
    kinds["group"] = np.array([group in in_train for group in groups])
    counts = dict.fromkeys(("pairs", "exact", "near", "group"), 0)
    for row, own in enumerate(places):
        pairs = own.count(split)
        counts["pairs"] += pairs
        kind = next((kind for kind, shared in kinds.items() if pairs and shared[row]), None)
        if kind is not None:
            counts[kind] += pairs
    return {**counts, "near": None if near is None else counts["near"], "words": _words(split, counts, near is None)}


def _words(split: str, counts: dict[str, int], unseen: bool) -> str:
    """For example: 196 of 200 test pairs show a picture that is also in train (190 exactly, 6 nearly)."""
    shared, pairs = counts["exact"] + counts["near"], counts["pairs"]
    shows = "shows" if shared in (0, 1) else "show"
    nearly = "near duplicates not looked for" if unseen else f"{counts['near']} nearly"
    words = f"{shared or 'none'} of {pairs} {split} pairs {shows} a picture that is also in train"
    if shared or unseen:
        words += f" ({counts['exact']} exactly, {nearly})" if shared else f" ({nearly})"
    if counts["group"]:
        words += f"; {counts['group']} more show another picture of a group in train"
    return words
