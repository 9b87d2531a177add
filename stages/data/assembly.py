"""From a source's entries to a prepared set: every picture read, what belongs together found, splits made, all written.

A source that finds its pictures in files (`folder`, `musti`) only has to say which they are.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.config.data import PicturesConfig, SplitsConfig
from stages.data.pictures import read_picture
from stages.data.prepared import PreparedWriter
from stages.data.splitting import merge_groups, split_groups
from stages.errors import StageError

_BLOCK = 256  # pictures read at a time


@dataclass(frozen=True)
class Caption:
    """One caption of a picture."""

    text: str
    """One line, checked not to be empty."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Further fields of a MUSTI record (`language`, `text`, `subtask1_label`, ...)."""
    split: str | None = None
    """The split that the source itself puts this pair in, where it has official ones."""


@dataclass
class Entry:
    """A picture with its captions, as a source names it."""

    file_name: str
    """Unique to the picture within its source."""
    path: Path
    """The file to read."""
    place: str
    """File and line (or record) of the first mention, for messages."""
    captions: list[Caption] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    """What ties it to other pictures: those of one group are never on two sides of a split."""


def assemble(
    entries: Sequence[Entry], writer: PreparedWriter, pictures: PicturesConfig, splits: SplitsConfig, seed: int
) -> None:
    """Reads every picture and writes it with its captions, split by group.

    Raises:
        StageError: a picture is broken, or there are too few groups for the splits.
    """
    images = writer.allocate(len(entries))
    contents = _read_pictures(entries, images, pictures)
    groups = merge_groups([_keys(entry, content) for entry, content in zip(entries, contents, strict=True)])
    places = split_groups(groups, {"val": splits.val_fraction, "test": splits.test_fraction}, seed)
    for row, (entry, group) in enumerate(zip(entries, groups, strict=True)):
        for caption in entry.captions:
            writer.add(
                row,
                caption.text,
                file_name=entry.file_name,
                split=places[group],
                group=group.partition(":")[2],
                musti=caption.fields,
            )
    writer.close()


def _read_pictures(entries: Sequence[Entry], images: NDArray[np.uint8], pictures: PicturesConfig) -> list[str]:
    """Fills `images` (N, H, W, 3) uint8; returns the hash of each picture's content."""
    hashes = []
    progress = tqdm(total=len(entries), desc="data: reading", unit="picture")
    with progress, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for start in range(0, len(entries), _BLOCK):
            block = entries[start : start + _BLOCK]
            for row, picture in enumerate(
                pool.map(lambda entry: _read(entry, images.shape[1], pictures), block), start
            ):
                images[row] = picture
                hashes.append(hashlib.sha256(picture.tobytes()).hexdigest())
                progress.update()
    return hashes


def _read(entry: Entry, size: int, pictures: PicturesConfig) -> NDArray[np.uint8]:
    try:
        return read_picture(entry.path, size, pictures.resize, pictures.background)
    except Exception as error:  # Pillow's plugins raise anything on a broken file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StageError(
            f"{entry.place}: the picture {entry.path} is broken ({reason}); replace the file or remove the record"
        ) from None


def _keys(entry: Entry, content: str) -> list[str]:
    """What ties a picture to others: its groups, else its name; and what it shows."""
    names = [f"group:{group}" for group in entry.groups] or [f"picture:{entry.file_name}"]
    return [*names, f"~content:{content}"]
