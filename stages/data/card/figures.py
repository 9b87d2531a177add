"""The figures of a data card, counted once for everything that shows them."""

from collections import Counter
from dataclasses import dataclass

from stages.data.card.captions import CaptionFigures, caption_figures
from stages.data.card.notes import SourceNotes, read_notes
from stages.data.card.pictures import Duplicates, Levels, channel_levels, find_duplicates
from stages.data.prepared import PreparedSet


@dataclass(frozen=True)
class SplitFigures:
    """Sizes of one split."""

    pairs: int
    pictures: int
    groups: int
    largest_group: int
    """Pictures of the group that has most."""
    shared: int | None
    """Pictures that train has too, as the same row; None for train itself or where there is no train."""


@dataclass(frozen=True)
class CardFigures:
    """Everything that is counted in a prepared set."""

    pictures: int
    pairs: int
    image_size: int
    """Side of a picture, pixels."""
    groups: int
    largest_group: int
    """Pictures of the group that has most."""
    splits: dict[str, SplitFigures]
    captions: CaptionFigures
    levels: Levels
    duplicates: Duplicates | None
    """None where the source has counted them: `notes` says what it found."""
    attributes: dict[str, dict[str, int]] | None
    """Attribute -> value -> number of pictures; None where the source knows no attributes."""
    notes: SourceNotes


def card_figures(dataset: PreparedSet) -> CardFigures:
    """Counts a prepared set and reads what its source noted beside it.

    Raises:
        StageError: a note of the source cannot be read.
    """
    groups, notes = _group_sizes(dataset), read_notes(dataset.directory)
    return CardFigures(
        pictures=len(dataset.images),
        pairs=len(dataset.records),
        image_size=dataset.image_size,
        groups=len(groups),
        largest_group=max(groups.values()),
        splits=_split_figures(dataset),
        captions=caption_figures(dataset),
        levels=channel_levels(dataset.images),
        duplicates=find_duplicates(dataset) if notes.exact_duplicates is None else None,
        attributes=_attribute_counts(dataset),
        notes=notes,
    )


def _group_sizes(dataset: PreparedSet, split: str | None = None) -> Counter[str]:
    """Group -> its number of pictures, in one split or in all."""
    members = {(record.group, record.image) for record in dataset.records if split in (None, record.split)}
    return Counter(group for group, _ in members)


def _split_figures(dataset: PreparedSet) -> dict[str, SplitFigures]:
    pictures: dict[str, set[int]] = {name: set() for name in dataset.splits}
    for record in dataset.records:
        pictures[record.split].add(record.image)
    pairs = Counter(record.split for record in dataset.records)
    found = {}
    for name, rows in pictures.items():
        groups = _group_sizes(dataset, name)
        shared = len(rows & pictures["train"]) if "train" in pictures and name != "train" else None
        found[name] = SplitFigures(pairs[name], len(rows), len(groups), max(groups.values()), shared)
    return found


def _attribute_counts(dataset: PreparedSet) -> dict[str, dict[str, int]] | None:
    """Counts every possible value, those that no picture shows too, and those that only the records know."""
    shown = {record.image: record.attributes for record in dataset.records if record.attributes}
    if not shown and not dataset.attribute_values:
        return None
    counts = {name: dict.fromkeys(values, 0) for name, values in (dataset.attribute_values or {}).items()}
    for attributes in shown.values():
        for name, value in attributes.items():
            values = counts.setdefault(name, {})
            values[value] = values.get(value, 0) + 1
    return counts
