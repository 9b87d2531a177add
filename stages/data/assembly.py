"""From a source's entries to a prepared set: every picture read, what belongs together found, splits made, all written.

A source that finds its pictures in files (`folder`, `musti`) only has to say which they are.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.config.data import PicturesConfig, SplitsConfig
from stages.data.duplicates import Looks, tie_exact, tie_near
from stages.data.entries import Entry
from stages.data.overlap import split_facts
from stages.data.placing import Places, place_pairs
from stages.data.prepared import PictureFile, PreparedWriter
from stages.data.reading import read_all
from stages.data.splitting import Ties, name_groups

logger = logging.getLogger("stages.data")


def assemble(
    entries: Sequence[Entry], writer: PreparedWriter, pictures: PicturesConfig, splits: SplitsConfig, seed: int
) -> None:
    """Reads every picture and writes it with its captions and split, and with what is known of duplicates and splits.

    Memory does not grow with the pictures, only with their names and captions: an entry is asked for when it is needed.

    Raises:
        StageError: a picture is broken, there are too few groups for the splits, or an official or listed split cannot
            be kept.
    """
    with writer.open_pictures(len(entries)) as file:
        looks = read_all(entries, file, pictures)
        exact, near = _find_duplicates(looks, file, splits.near_duplicate_bits)
    groups = name_groups((_keys(entry) for entry in entries), (near or exact).copy())
    alike = (near or exact).roots()
    places = place_pairs(entries, groups, alike.tolist(), splits, seed)
    facts = split_facts(splits, places, exact.roots(), near.roots() if near else None, groups)
    _write_pairs(entries, groups, places, writer)
    writer.add_split_facts(facts)
    writer.close()
    _tell(facts, groups)


def _find_duplicates(looks: Looks, pictures: PictureFile, bits: int) -> tuple[Ties, Ties | None]:
    """The ties of equal pictures; and with those that look the same, where `bits` asks for it."""
    exact = Ties(len(looks))
    tie_exact(exact, looks.contents)
    if not bits:
        return exact, None
    near = exact.copy()
    tie_near(near, looks, pictures, bits)
    return exact, near


def _keys(entry: Entry) -> list[str]:
    """What names a picture's group: its groups, else the picture itself."""
    return [f"group:{group}" for group in entry.groups] or [f"picture:{entry.file_name}"]


def _write_pairs(entries: Sequence[Entry], groups: Sequence[str], places: Places, writer: PreparedWriter) -> None:
    for row, (entry, group, own) in enumerate(zip(entries, groups, places, strict=True)):
        for caption, split in zip(entry.captions, own, strict=True):
            writer.add(
                row,
                caption.text,
                file_name=entry.file_name,
                split=split,
                group=group.partition(":")[2],
                musti=caption.fields,
            )


def _tell(facts: Mapping[str, Any], groups: Sequence[str]) -> None:
    """Logs the duplicates, what the splits share, and a group that has swallowed the set."""
    nearly = "near ones not looked for" if facts["near_duplicates"] is None else f"{facts['near_duplicates']} near"
    kept = "left where the official splits have them" if facts["official"] else "each put on one side of the splits"
    logger.info("data: duplicates: %d exact, %s; %s", facts["exact_duplicates"], nearly, kept)
    for split, shared in facts["overlap"].items():
        logger.info("data: %s", shared["words"])
        if shared["exact"] or shared["near"]:
            logger.warning("data: figures on '%s' are partly figures on pictures that were learnt from", split)
    names, counts = np.unique(np.array(groups, dtype=object), return_counts=True)
    largest = int(counts.argmax())
    if counts[largest] > max(10, len(groups) // 4):
        logger.warning(
            "data: %d of %d pictures are one group (%s): if they are not alike, lower data.splits.near_duplicate_bits",
            counts[largest], len(groups), names[largest].partition(":")[2],
        )  # fmt: skip
