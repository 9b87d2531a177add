"""Codes in LMDB: raw uint16 rows of one fixed size under ordered keys, and one schema record. No pickle.

A record's value is its top codes, bottom codes and text codes, in that order, uint16 little-endian, raster order.
Everything that is a string (caption, file name) is in one JSON record beside it, because readers of codes rarely want
it. Keys are `codes/<split>/<number, 8 digits>` and `about/...`, so a cursor walks a split in order.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from stages.codes.views import VIEWS
from stages.errors import StageError

FORMAT = "blip-vq-snail codes 1"
_SCHEMA_KEY = b"schema"
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Schema:
    """What the rows of a store are; written last, so that a store without it is known to be unfinished."""

    top_side: int
    bottom_side: int
    text_codes: int
    codebook_size: int
    counts: dict[str, int]
    """Split name -> number of records."""
    vqvae: str
    """sha256 of the manifest of the VQ-VAE that made the codes."""
    blip: str
    """sha256 of the manifest of the BLIP whose embeddings went into them."""
    format: str = FORMAT

    @property
    def row_bytes(self) -> int:
        """Size of one record's codes, bytes."""
        return 2 * (self.top_side**2 + self.bottom_side**2 + self.text_codes)


@dataclass(frozen=True)
class CodeRecord:
    """One pair's codes and what they belong to."""

    top: np.ndarray
    """(h,w) uint16."""
    bottom: np.ndarray
    """(2h,2w) uint16."""
    text: np.ndarray
    """(n,) uint16."""
    caption: str
    file_name: str
    record_row: int
    """Row of the pair in the prepared set, and in BLIP's features."""


@dataclass(frozen=True)
class SplitCodes:
    """All codes of a split, in order."""

    top: np.ndarray
    """(P,h,w) uint16."""
    bottom: np.ndarray
    """(P,2h,2w) uint16."""
    text: np.ndarray
    """(P,n) uint16."""
    captions: list[str]
    file_names: list[str]
    record_rows: np.ndarray
    """(P,) int64."""


class CodeWriter:
    """Appends records in batches of one transaction each; the map grows as needed.

    Args:
        directory: folder of the new store.
    """

    def __init__(self, directory: Path) -> None:
        self.environment = lmdb.open(str(directory), map_size=16 * _MEGABYTE, subdir=True, readahead=False)
        self.counts: dict[str, int] = {}

    def append(self, split: str, records: Iterable[CodeRecord]) -> None:
        """Writes records after those already in the split."""
        items = []
        for record in records:
            number = self.counts.get(split, 0)
            self.counts[split] = number + 1
            row = b"".join(
                np.ascontiguousarray(c, dtype="<u2").tobytes() for c in (record.top, record.bottom, record.text)
            )
            words = {"caption": record.caption, "file_name": record.file_name, "record_row": record.record_row}
            items += [(_key(split, number), row), (_key(split, number, "about"), json.dumps(words).encode())]
        self._put(items)

    def finish(self, schema: Schema) -> None:
        """Writes the schema record, flushes and closes."""
        self._put([(_SCHEMA_KEY, json.dumps(dataclasses.asdict(schema)).encode())])
        self.environment.sync(True)
        self.environment.close()

    def _put(self, items: list[tuple[bytes, bytes]]) -> None:
        while True:
            try:
                with self.environment.begin(write=True) as transaction:
                    transaction.cursor().putmulti(items)
                return
            except lmdb.MapFullError:
                self.environment.set_mapsize(2 * self.environment.info()["map_size"])


class CodeStore:
    """A finished store, for reading.

    Args:
        environment: an open, read-only LMDB environment.
        schema: its schema record.
    """

    def __init__(self, environment: Any, schema: Schema) -> None:
        self.environment, self.schema = environment, schema

    @classmethod
    def open(cls, directory: Path) -> "CodeStore":
        """Opens a published `codes` artefact.

        Raises:
            StageError: there is no store, it is unfinished or cut short, or its schema is not this program's.
        """
        folder = directory / "lmdb"
        try:
            environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False)
            with environment.begin() as transaction:
                raw = transaction.get(_SCHEMA_KEY)
        except lmdb.Error as error:
            raise StageError(f"{folder} is not a store of codes ({error}); run: make codes") from None
        if raw is None:
            raise StageError(f"{folder} has no schema record, so it was never finished; run: make codes")
        try:
            schema = Schema(**json.loads(bytes(raw)))
        except (TypeError, ValueError) as error:
            raise StageError(f"{folder} has a schema of another kind ({error}); run: make codes") from None
        if schema.format != FORMAT:
            raise StageError(f"{folder} is of format {schema.format!r}, this program reads {FORMAT!r}; run: make codes")
        return cls(environment, schema)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits it holds."""
        return tuple(self.schema.counts)

    def read_train(self) -> SplitCodes:
        """Every record to learn from: those of `train`, then their shifted views where there are any."""
        train = self.read("train")
        if VIEWS not in self.splits:
            return train
        views = self.read(VIEWS)
        return SplitCodes(
            np.concatenate([train.top, views.top]),
            np.concatenate([train.bottom, views.bottom]),
            np.concatenate([train.text, views.text]),
            train.captions + views.captions,
            train.file_names + views.file_names,
            np.concatenate([train.record_rows, views.record_rows]),
        )

    def read(self, split: str) -> SplitCodes:
        """Every record of a split.

        Raises:
            StageError: there is no such split, or records are missing or of the wrong size.
        """
        if split not in self.schema.counts:
            raise StageError(f"the code store has no split '{split}', only {', '.join(self.splits)}")
        count, schema = self.schema.counts[split], self.schema
        rows = np.empty((count, schema.row_bytes // 2), dtype="<u2")
        words = []
        with self.environment.begin(buffers=True) as transaction:
            for number in range(count):
                row, about = transaction.get(_key(split, number)), transaction.get(_key(split, number, "about"))
                if row is None or about is None or len(row) != schema.row_bytes:
                    raise StageError(
                        f"the code store's record {split}/{number} has {0 if row is None else len(row)} bytes, "
                        f"its schema says {schema.row_bytes}; run: make codes"
                    )
                rows[number] = np.frombuffer(row, dtype="<u2")
                words.append(json.loads(bytes(about)))
        top, bottom, text = np.split(rows, np.cumsum([schema.top_side**2, schema.bottom_side**2]), axis=1)
        return SplitCodes(
            top.reshape(count, schema.top_side, schema.top_side),
            bottom.reshape(count, schema.bottom_side, schema.bottom_side),
            text,
            [word["caption"] for word in words],
            [word["file_name"] for word in words],
            np.array([word["record_row"] for word in words], dtype=np.int64),
        )


def _key(split: str, number: int, part: str = "codes") -> bytes:
    return f"{part}/{split}/{number:08d}".encode()
