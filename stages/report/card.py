"""The data card: where the pictures come from, how they are split, and what they look like."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.data import PreparedSet
from stages.report.pictures import Figure, evenly_spaced, picture_uri
from stages.report.table import Cell, Table

ATTRIBUTE_VALUES_SHOWN = 12


@dataclass(frozen=True)
class DataCard:
    """What is said about a data set."""

    sentence: str
    splits: Table
    attributes: list[tuple[str, str]] = field(default_factory=list)
    """Attribute and its values, in words."""
    examples: list[Figure] = field(default_factory=list)
    example_split: str = ""


def data_card(dataset: PreparedSet, manifest: dict[str, Any], examples: int, longest: int) -> DataCard:
    """Counts, overlaps and examples of a prepared set."""
    section = manifest.get("config", {})
    words = [len(record.caption.split()) for record in dataset.records]
    sentence = (
        f"Data set '{section.get('name', dataset.directory.name)}', source '{section.get('source', 'unknown')}': "
        f"{len(dataset.images)} pictures of {dataset.images.shape[2]} x {dataset.images.shape[1]} pixels, "
        f"{len(dataset.records)} captions of {min(words)} to {max(words)} words (median {np.median(words):g})."
    )
    name = "test" if "test" in dataset.splits else dataset.splits[0]
    split = dataset.split(name)
    chosen = [split.records[row] for row in evenly_spaced(len(split), examples)] if examples else []
    figures = [Figure(*picture_uri(dataset.images[record.image], longest), label=record.caption) for record in chosen]
    return DataCard(sentence, splits_table(dataset), _attributes(dataset), figures, name)


def splits_table(dataset: PreparedSet) -> Table:
    """Pairs, pictures and groups of each split, and how many of its pictures and captions train has too."""
    head = ["split", "pairs", "pictures", "groups", "pictures also in train", "captions also in train"]
    table = Table("splits", "Splits", head)
    parts = {name: dataset.split(name) for name in dataset.splits}
    train = parts.get("train")
    train_images = set(train.unique_images.tolist()) if train else set()
    train_captions = {caption.lower() for caption in train.captions} if train else set()
    for name, split in parts.items():
        counts = [len(split), len(split.unique_images), len({record.group for record in split.records})]
        shared = ["\N{EN DASH}"] * 2
        if train and name != "train":
            images = len(train_images & set(split.unique_images.tolist()))
            captions = sum(caption.lower() in train_captions for caption in split.captions)
            shared = [str(images), f"{captions} of {len(split)}"]
        table.rows.append([Cell(name), *(Cell(str(count)) for count in counts), *(Cell(text) for text in shared)])
    return table


def _attributes(dataset: PreparedSet) -> list[tuple[str, str]]:
    """Each attribute with its values, a long list cut short."""
    lines = []
    for name, values in (dataset.attribute_values or {}).items():
        shown = ", ".join(values[:ATTRIBUTE_VALUES_SHOWN])
        more = len(values) - ATTRIBUTE_VALUES_SHOWN
        lines.append((name.replace("_", " "), shown + (f" and {more} more" if more > 0 else "")))
    return lines
