"""Decides the split of every pair: by group, as the source itself has it, or by lists of file names."""

import logging
import os
from collections.abc import Hashable, Sequence
from pathlib import Path

from stages.config.data import SplitsConfig
from stages.data.entries import Entry
from stages.data.splitting import split_groups
from stages.errors import StageError

logger = logging.getLogger("stages.data")

ASIDE = "aside"
"""The split of pictures that no stage may learn from: they belong together with listed test or validation pictures."""

OFFICIAL = {"train": "train", "val": "val", "validation": "val", "valid": "val", "dev": "val", "test": "test"}
"""What sources call their splits -> what they are called here."""

Places = list[tuple[str, ...]]
"""For each picture the split of each of its captions."""


def place_pairs(
    entries: Sequence[Entry], groups: Sequence[str], alike: Sequence[int], config: SplitsConfig, seed: int
) -> Places:
    """The split of every pair.

    Args:
        groups: the group of each picture, duplicates in one.
        alike: one number for all pictures that are equal or look the same.

    Raises:
        StageError: an official split is missing or unknown, or a list names what is not there.
        TooFewGroups: there are not enough groups for every split.
    """
    if config.official:
        return _official(entries, groups, config, seed)
    splits = _listed(entries, groups, groups if config.lists_take_groups else alike, config, seed)
    return [(split,) * len(entry.captions) for entry, split in zip(entries, splits, strict=True)]


def _official(entries: Sequence[Entry], groups: Sequence[str], config: SplitsConfig, seed: int) -> Places:
    """Every pair where its source has it; without a `val`, one is cut from train by group."""
    places = [_own_splits(entry) for entry in entries]
    found = {split for own in places for split in own}
    for needed in ("train", "test"):
        if needed not in found:
            raise StageError(
                f"data.splits.official: no pair has the split '{needed}': add it to the records, or set it to false"
            )
    if "val" in found:
        return places
    learnt = [group for group, own in zip(groups, places, strict=True) if "train" in own]
    tested = {group for group, own in zip(groups, places, strict=True) if "test" in own}
    alone = [group for group in learnt if group not in tested]  # to validate on a test picture would be to peek
    choice = alone if len(set(alone)) > 1 else learnt
    chosen = split_groups(choice, {"val": config.val_fraction}, seed)
    return [
        tuple("val" if split == "train" and chosen.get(group) == "val" else split for split in own)
        for group, own in zip(groups, places, strict=True)
    ]


def _own_splits(entry: Entry) -> tuple[str, ...]:
    for caption in entry.captions:
        if caption.split not in OFFICIAL:
            got = "no split" if caption.split is None else f"the split {caption.split!r}"
            raise StageError(
                f"{entry.place}: {entry.file_name} has {got}, but data.splits.official is true: "
                f"give it one of {', '.join(OFFICIAL)}"
            )
    return tuple(OFFICIAL[caption.split or ""] for caption in entry.captions)


def _listed(
    entries: Sequence[Entry], groups: Sequence[str], bonds: Sequence[Hashable], config: SplitsConfig, seed: int
) -> list[str]:
    """The split of each picture: listed ones where their list says, the rest by group in what is not listed.

    Args:
        bonds: a picture with the same as a listed one is set aside.
    """
    lists = {"test": config.test_list, "val": config.val_list}
    rows = {entry.file_name: row for row, entry in enumerate(entries)} if any(lists.values()) else {}
    splits: dict[int, str] = {}
    for split, path in lists.items():
        for row, line in _read_list(path, rows).items() if path else ():
            if splits.setdefault(row, split) != split:
                raise StageError(
                    f"{path}, line {line}: {entries[row].file_name} is in {lists['test']} too: remove it from one"
                )
    taken = {bonds[row] for row in splits}
    aside = [row for row, bond in enumerate(bonds) if bond in taken and row not in splits]
    if aside:
        names = " and ".join(split for split, path in lists.items() if path)
        logger.info("data: %d pictures set aside: they belong together with pictures listed for %s", len(aside), names)
    splits |= dict.fromkeys(aside, ASIDE)
    fractions = {"val": config.val_fraction, "test": config.test_fraction}
    fractions = {split: fraction for split, fraction in fractions.items() if not lists[split]}
    chosen = split_groups([group for row, group in enumerate(groups) if row not in splits], fractions, seed)
    return [splits.get(row) or chosen[group] for row, group in enumerate(groups)]


def _read_list(path: str, rows: dict[str, int]) -> dict[int, int]:
    """Row of each picture that a list names -> the line that names it.

    Raises:
        StageError: no such file, not UTF-8, no name in it, or one that no picture has.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise StageError(f"data.splits: the list {path} cannot be read ({reason}): correct path or file") from None
    found: dict[int, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        name = line.strip()
        if not name:
            continue
        row = rows.get(os.path.normpath(name))
        if row is None:
            raise StageError(f"{path}, line {number}: there is no picture {name!r} in the set: correct the name")
        found[row] = number
    if not found:
        raise StageError(f"{path} names no picture: write one file name a line")
    return found
