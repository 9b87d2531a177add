"""A prepared data set on disk: pictures in one memory-mapped array, records as lines of JSON, attributes if known.

images.npy       (N, H, W, 3) uint8
records.jsonl    one (picture, caption) pair a line, in the layout of MUSTI (`id`, `image`, `title`, ...) with the
                 `row` of the picture, its `split`, `group`, `attributes` and `contrast`
attributes.json  attribute -> its possible values; only where the source knows them
splits.json      how pictures from files were split, their duplicates, what the splits share; not for `scenes`
dropped.json     reason -> number of pairs that were left out; only where the source leaves any out
missing.csv      pictures that could not be had, and why; only where the source fetches them
pairs.jsonl      MUSTI's pairs of picture and passage with their labels; only there
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from stages.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor

IMAGES = "images.npy"
RECORDS = "records.jsonl"
ATTRIBUTES = "attributes.json"
SPLITS = "splits.json"
DROPPED = "dropped.json"
MISSING = "missing.csv"
PAIRS = "pairs.jsonl"
SPLIT_ORDER = ("train", "val", "test", "compositions")


class Contrast(NamedTuple):
    """A caption that is untrue of a picture in one attribute alone, for asking whether a model sees that attribute."""

    caption: str
    attribute: str
    """In which it is untrue."""


@dataclass(frozen=True, slots=True)
class Record:
    """One (picture, caption) pair; several may share a picture."""

    id: int
    """Number of the pair, from 0."""
    image: int
    """Row of the picture in `PreparedSet.images`."""
    caption: str
    file_name: str
    """Name of the picture in its source; unique to the picture."""
    split: str
    group: str
    """Pictures of one group are all in one split, unless the source's official splits were kept or a list takes some
    of them out."""
    attributes: dict[str, str] | None
    """Attribute -> true value, where the source knows it."""
    contrast: Contrast | None = None
    """A wrong caption that is nearly right, where the source knows one."""


@dataclass(frozen=True)
class Split:
    """The pairs of one split, in the order of the records."""

    name: str
    records: list[Record]
    record_rows: NDArray[np.int64]
    """(P,) place of each pair in `PreparedSet.records`."""
    captions: list[str] = field(init=False)
    image_rows: NDArray[np.int64] = field(init=False)
    """(P,) row of each pair's picture in `PreparedSet.images`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "captions", [record.caption for record in self.records])
        object.__setattr__(self, "image_rows", np.array([record.image for record in self.records], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.records)

    @property
    def unique_images(self) -> NDArray[np.int64]:
        """The rows of the split's pictures, each once, ascending."""
        return np.unique(self.image_rows)


@dataclass(frozen=True)
class PreparedSet:
    """A data set as every later stage reads it."""

    directory: Path
    images: NDArray[np.uint8]
    """(N, H, W, 3) uint8, memory-mapped, read-only."""
    records: list[Record]
    image_size: int
    """H = W, pixels."""
    attribute_values: dict[str, list[str]] | None
    """Attribute -> its possible values, in order, where the source knows them."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that there are: train, val, test, then others."""
        return tuple(sorted({record.split for record in self.records}, key=_split_place))

    def split(self, name: str) -> Split:
        """The pairs of a split.

        Raises:
            StageError: there is no such split.
        """
        rows = [row for row, record in enumerate(self.records) if record.split == name]
        if not rows:
            raise StageError(f"{self.directory / RECORDS} has no split '{name}', only {', '.join(self.splits)}")
        return Split(name, [self.records[row] for row in rows], np.array(rows, dtype=np.int64))


class Source(Protocol):
    """Where pictures and captions come from: `write` hands every one to the writer, checked and in its split."""

    def write(self, writer: PreparedWriter) -> None: ...


class PictureFile:
    """The pictures of a set under way, read and written in place, by several threads at once if need be.

    Plain positional writes: the pages of a memory map would count as memory of the process, all of them in the end.
    """

    def __init__(self, path: Path, count: int, size: int) -> None:
        self.count, self.size = count, size
        self._row_bytes = size * size * 3
        self._offset = path.stat().st_size - count * self._row_bytes  # of the first picture, after the header
        self._file = os.open(path, os.O_RDWR)

    def __enter__(self) -> PictureFile:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._file)

    def write(self, row: int, picture: NDArray[np.uint8]) -> None:
        """Puts a picture (H, W, 3) uint8 into its row."""
        self._check(row)
        if picture.shape != (self.size, self.size, 3) or picture.dtype != np.uint8:
            raise ValueError(f"expected a picture ({self.size}, {self.size}, 3) uint8, got {picture.shape}")
        left, position = memoryview(picture.tobytes()), self._offset + row * self._row_bytes
        while left:
            written = os.pwrite(self._file, left, position)
            left, position = left[written:], position + written

    def read(self, row: int) -> NDArray[np.uint8]:
        """The picture (H, W, 3) uint8 of a row."""
        self._check(row)
        content = os.pread(self._file, self._row_bytes, self._offset + row * self._row_bytes)
        return np.frombuffer(content, dtype=np.uint8).reshape(self.size, self.size, 3)

    def _check(self, row: int) -> None:
        if not 0 <= row < self.count:
            raise ValueError(f"row must be in [0, {self.count}), got {row}")


def allocate_array(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """An array on disk, memory-mapped, all of whose room is there.

    Raises:
        OSError: the disk is full. Without its room a full disk would be a crash while the array is filled.
    """
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


class PreparedWriter:
    """Writes a prepared set into an existing, empty directory: `allocate`, fill the pictures, `add` pairs, `close`."""

    def __init__(self, directory: Path, image_size: int) -> None:
        self.directory = directory
        self.image_size = image_size
        self.images_path = directory / IMAGES
        self._count = 0
        self._pairs = 0
        self._records: TextIO | None = None

    def refuse_to_replace(self, key: str, path: str, name: str) -> None:
        """Nothing, if the set of that name, which will lie beside this directory, takes the place of no such path.

        Raises:
            StageError: the path, which the config's key names, is that folder or below it.
        """
        own = self.directory.parent / name
        if Path(path).resolve().is_relative_to(own.resolve()):
            raise StageError(
                f"{key}: {path} is in the prepared set's own folder, {own}, which is replaced: name another, or "
                "choose another data.name"
            )

    def allocate(self, count: int) -> NDArray[np.uint8]:
        """The array (count, H, W, 3) uint8 of all pictures, on disk, to be filled by the caller or by processes."""
        self._count = count
        shape = (count, self.image_size, self.image_size, 3)
        return allocate_array(self.images_path, np.uint8, shape)

    def open_pictures(self, count: int) -> PictureFile:
        """Allocates `count` pictures as a file to fill row by row, in as little memory for many as for few."""
        self.allocate(count)
        return PictureFile(self.images_path, count, self.image_size)

    def add(
        self, row: int, caption: str, *, file_name: str, split: str, group: str,
        attributes: Mapping[str, str] | None = None, contrast: Contrast | None = None,
        musti: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Adds one pair; `musti` holds further fields of a MUSTI record (`language`, `text`, `subtask1_label`, ...)."""
        if not 0 <= row < self._count:
            raise ValueError(f"row must be in [0, {self._count}), got {row}")
        record = {"id": self._pairs, "image": file_name, **(musti or {}), "title": caption, "row": row}
        record |= {"split": split, "group": group, "attributes": dict(attributes) if attributes is not None else None}
        if contrast is not None:
            record["contrast"] = contrast._asdict()
        if self._records is None:
            self._records = (self.directory / RECORDS).open("w", encoding="utf-8", newline="\n")
        self._records.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._pairs += 1

    def add_split_facts(self, facts: Mapping[str, Any]) -> None:
        """Writes how the set was split: `stages.data.overlap.split_facts` says what is in it."""
        _write_json(self.directory / SPLITS, facts)

    def close(self, attribute_values: Mapping[str, Sequence[str]] | None = None) -> None:
        """Ends the records and writes, where they are known, the attributes' values."""
        if self._records is None:
            (self.directory / RECORDS).write_text("")
        else:
            self._records.close()
        if attribute_values is not None:
            _write_json(self.directory / ATTRIBUTES, attribute_values)


def load_dataset(directory: Path) -> PreparedSet:
    """The prepared set in `directory`, its pictures memory-mapped.

    Raises:
        StageError: a file is missing, cut short, or does not fit the others.
    """
    directory = Path(directory)
    images = _load_images(directory / IMAGES)
    records = _load_records(directory / RECORDS, len(images))
    values = _load_attributes(directory / ATTRIBUTES) if (directory / ATTRIBUTES).exists() else None
    unseen = len(images) - len({record.image for record in records})
    if unseen:
        raise _broken(directory / RECORDS, f"{unseen} of the {len(images)} pictures have no record")
    return PreparedSet(directory, images, records, int(images.shape[1]), values)


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures (B,H,W,3) uint8 as an image (B,3,H,W) float32 in [-1,1]."""
    import torch

    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1.0)


def to_uint8(image: Tensor) -> NDArray[np.uint8]:
    """An image (B,3,H,W) in [-1,1], clipped, as pictures (B,H,W,3) uint8."""
    import torch

    scaled = image.detach().float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)
    pictures: NDArray[np.uint8] = scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pictures


def pictures_at_once(side: int, most: int = 128) -> int:
    """How many pictures of `side` x `side` pixels to put through a network together, where it is not learning: up to 64
    pixels `most`, of larger ones as many pixels as that, and one at least."""
    return max(1, min(most, most * 64**2 // side**2))


def split_counts(dataset: PreparedSet) -> dict[str, dict[str, int]]:
    """Split -> its number of `pairs` and of `pictures`."""
    pairs = Counter(record.split for record in dataset.records)
    pictures = Counter(split for split, _ in {(record.split, record.image) for record in dataset.records})
    return {name: {"pairs": pairs[name], "pictures": pictures[name]} for name in dataset.splits}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _split_place(name: str) -> tuple[int, str]:
    return (SPLIT_ORDER.index(name) if name in SPLIT_ORDER else len(SPLIT_ORDER), name)


def _broken(path: Path, what: str) -> StageError:
    return StageError(f"{path}: {what}; remove {path.parent} and run: make data")


def _load_images(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise _broken(path, "missing")
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _broken(path, f"not a whole array ({' '.join(str(error).split())})") from None
    whole = images.ndim == 4 and images.shape[0] > 0 and images.shape[1] == images.shape[2] and images.shape[3] == 3
    if not whole or images.dtype != np.uint8:
        raise _broken(path, f"expected pictures (N, H, H, 3) uint8, got {images.shape} {images.dtype}")
    return images


def _load_records(path: Path, pictures: int) -> list[Record]:
    if not path.is_file():
        raise _broken(path, "missing")
    records: list[Record] = []
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:  # a caption may hold U+2028
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                raise _broken(path, f"line {number} is cut short")
            records.append(_record(path, number, line, pictures))
    if not records:
        raise _broken(path, "empty")
    return records


def _record(path: Path, number: int, line: str, pictures: int) -> Record:
    try:
        fields = json.loads(line)
        split = sys.intern(fields["split"])  # one text for all records, not one each
        contrast = Contrast(**fields["contrast"]) if "contrast" in fields else None
        record = Record(fields["id"], fields["row"], fields["title"], fields["image"], split, fields["group"],
                        fields["attributes"], contrast)  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(path, f"line {number} is not a record ({type(error).__name__}: {error})") from None
    if not (isinstance(record.image, int) and 0 <= record.image < pictures):
        raise _broken(path, f"line {number} names picture {record.image} of {pictures}")
    return record


def _load_attributes(path: Path) -> dict[str, list[str]]:
    try:
        values: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _broken(path, f"not whole ({error})") from None
    return values
