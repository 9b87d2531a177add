"""Codes in LMDB, for reading: raw rows of one fixed size, in order, and one schema record. No pickle.

A row is a packed record of unsigned little-endian integers (`Schema.row`); a value is a chunk of them, so that reading
is arithmetic on the map and nothing is parsed or copied. Captions and file names are JSON records beside the rows,
because who reads codes rarely wants them. Keys are `codes/<split>/<chunk, 8 digits>` and `about/<split>/<record>`.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.codes.mapped import MappedFile, open_mapped
from stages.codes.schema import Schema, key
from stages.codes.views import VIEWS
from stages.codes.writer import DATA_FILE, SCHEMA_KEY
from stages.errors import StageError

_REMEDY = "make codes"


@dataclass(frozen=True)
class SplitCodes:
    """All codes of a split, in order."""

    record_rows: np.ndarray
    """(P,) int64, places of the pairs in the prepared set, and in BLIP's features."""
    top: np.ndarray
    """(P,h,w) uint16."""
    bottom: np.ndarray
    """(P,2h,2w) uint16."""
    text: np.ndarray
    """(P,n) uint16."""

    def __len__(self) -> int:
        return len(self.record_rows)


@dataclass(frozen=True)
class About:
    """What a record belongs to."""

    caption: str
    file_name: str


class Rows:
    """A split's records by number, as they lie in the map: `rows[7]["top"]`, `rows.take([3, 1])["bottom"]`.

    What indexing gives is no copy, cannot be written to, and stays good for as long as it is kept, whatever becomes of
    the store: it keeps the file mapped. Threads may share it; a worker process may inherit it or be sent it.
    """

    def __init__(self, store: "CodeStore", split: str, chunks: list[np.ndarray]) -> None:
        self.store, self.split = store, split
        self._count, self._chunk, self._row = store.count(split), store.schema.chunk, store.schema.row
        self._chunks = chunks
        self._bytes = [chunk.view(np.uint8).data for chunk in chunks]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Any:
        """A record, `np.void` of `Schema.row`.

        Raises:
            IndexError: there is no such record.
        """
        if not 0 <= number < self._count:
            raise IndexError(f"'{self.split}' has the records 0 to {self._count - 1}, asked for is {number}")
        return self._chunks[number // self._chunk][number % self._chunk]

    def take(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Records of these numbers, in their order: structured array (b,) of `Schema.row`, a copy.

        Raises:
            IndexError: there is no such record.
        """
        wanted = np.asarray(numbers, dtype=np.int64)
        for number in (wanted.min(), wanted.max()) if wanted.size else ():
            self[int(number)]
        chunks, places = np.divmod(wanted, self._chunk)
        size = self._row.itemsize
        # Joining pieces is one copy by the C library; an array of all chunks would be a copy of the split.
        starts = (places * size).tolist()
        pieces = [self._bytes[c][s : s + size] for c, s in zip(chunks.tolist(), starts, strict=True)]
        return np.frombuffer(bytearray().join(pieces), dtype=self._row)

    @property
    def record_rows(self) -> np.ndarray:
        """(P,) int64, places of all pairs in the prepared set."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(chunk["record_row"] for chunk in self._chunks)])

    def read(self) -> np.ndarray:
        """All records: structured array (P,) of `Schema.row`, a copy."""
        return np.concatenate([np.empty(0, dtype=self._row), *self._chunks])

    def __reduce__(self) -> tuple[Any, ...]:
        return _rows_of, (self.store, self.split)


def _rows_of(store: "CodeStore", split: str) -> Rows:
    return store.rows(split)


class CodeStore:
    """A finished store. May be shared by threads and handed to worker processes: each process opens it for itself.

    Args:
        folder: of the LMDB environment.
        schema: its schema record.
    """

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder, self.schema = folder, schema
        self._opened: tuple[int, MappedFile] | None = None

    @classmethod
    def open(cls, directory: Path, *, vqvae: str | None = None, blip: str | None = None) -> "CodeStore":
        """Opens a published `codes` artefact.

        Args:
            vqvae, blip: sha256 of the manifests that its codes must come from; None for any.

        Raises:
            StageError: there is no store, it is unfinished or cut short, its schema is not this program's, or its codes
                are of other weights.
        """
        folder = directory / "lmdb"
        raw = open_mapped(folder / DATA_FILE, _REMEDY).get(SCHEMA_KEY)
        if raw is None:
            raise StageError(f"{folder} has no schema record, so it was never finished; run: {_REMEDY}")
        try:
            schema = Schema.from_json(raw)
        except (TypeError, ValueError) as error:
            raise StageError(f"{folder} is a store {error}; run: {_REMEDY}") from None
        for name, wanted in (("vqvae", vqvae), ("blip", blip)):
            made_by = getattr(schema, name)
            if wanted is not None and made_by != wanted:
                raise StageError(f"{folder} was made by {name} {made_by[:12]}, wanted is {wanted[:12]}; run: {_REMEDY}")
        return cls(folder, schema)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits it holds."""
        return tuple(self.schema.counts)

    def count(self, split: str) -> int:
        """Number of records of a split.

        Raises:
            StageError: there is no such split.
        """
        if split not in self.schema.counts:
            raise StageError(f"the code store has no split '{split}', only {', '.join(self.splits)}")
        return self.schema.counts[split]

    def rows(self, split: str) -> Rows:
        """The records of a split, to be read one by one or in batches without reading all.

        Raises:
            StageError: there is no such split, or records are missing or of the wrong size.
        """
        mapped, count = self._mapped(), self.count(split)
        starts = range(0, count, self.schema.chunk)
        return Rows(self, split, [self._chunk(mapped, split, start, count) for start in starts])

    def read(self, split: str) -> SplitCodes:
        """Every record of a split.

        Raises:
            StageError: as `rows`.
        """
        rows = self.rows(split).read()
        return SplitCodes(
            rows["record_row"].astype(np.int64),
            *(np.ascontiguousarray(rows[name]) for name in ("top", "bottom", "text")),
        )

    def read_train(self) -> SplitCodes:
        """Every record to learn from: those of `train`, then their shifted views where there are any."""
        parts = [self.read(split) for split in ("train", VIEWS) if split in self.splits]
        if len(parts) == 1:
            return parts[0]
        return SplitCodes(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ("record_rows", "top", "bottom", "text"))
        )

    def about(self, split: str, numbers: Sequence[int] | None = None) -> list[About]:
        """Captions and file names of these records of a split; None for all.

        Raises:
            StageError: one is missing.
        """
        chosen = range(self.count(split)) if numbers is None else numbers
        mapped = self._mapped()
        found = [mapped.get(key("about", split, number)) for number in chosen]
        for number, raw in zip(chosen, found, strict=True):
            if raw is None:
                raise StageError(f"the code store says nothing about record {split}/{number}; run: {_REMEDY}")
        return [About(**json.loads(raw)) for raw in found if raw is not None]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "schema": self.schema, "_opened": None}

    def _mapped(self) -> MappedFile:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            opened = self._opened = None  # lets go of what a fork has inherited, which is closed unless it is looked at
            opened = self._opened = os.getpid(), open_mapped(self.folder / DATA_FILE, _REMEDY)
        return opened[1]

    def _chunk(self, mapped: MappedFile, split: str, start: int, count: int) -> np.ndarray:
        """Records of a split from `start` on, as many as one value holds: structured array of `Schema.row`, a view."""
        raw = mapped.view(key("codes", split, start // self.schema.chunk))
        stop = min(start + self.schema.chunk, count)
        found, said = 0 if raw is None else len(raw), (stop - start) * self.schema.row.itemsize
        if raw is None or found != said:
            raise StageError(
                f"the code store's records {start} to {stop - 1} of '{split}' have {found} bytes, "
                f"its schema says {said}; run: {_REMEDY}"
            )
        return raw.view(self.schema.row)
