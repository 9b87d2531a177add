"""Codes in LMDB, for reading: raw rows of one fixed size under ordered keys, and one schema record. No pickle.

A row is a packed record of unsigned little-endian integers (`Schema.row`), so a read is a view of the map and nothing
is parsed. Captions and file names are JSON records beside the rows, because who reads codes rarely wants them. Keys
are `codes/<split>/<number, 8 digits>` and `about/...`.
"""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from stages.codes.schema import Schema, keys
from stages.codes.views import VIEWS
from stages.codes.writer import SCHEMA_KEY
from stages.errors import StageError


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


class CodeStore:
    """A finished store. May be shared by threads and handed to worker processes: each process opens it for itself.

    Args:
        folder: of the LMDB environment.
        schema: its schema record.
    """

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder, self.schema = folder, schema
        self._opened: tuple[int, Any] | None = None

    @classmethod
    def open(cls, directory: Path, *, vqvae: str | None = None, blip: str | None = None) -> "CodeStore":
        """Opens a published `codes` artefact.

        Args:
            vqvae, blip: sha256 of the manifests that its codes must come from; None for any.

        Raises:
            StageError: there is no store, it is unfinished, its schema is not this program's, or its codes are of
                other weights.
        """
        folder = directory / "lmdb"
        try:
            with _environment(folder).begin() as transaction:
                raw = transaction.get(SCHEMA_KEY)
        except lmdb.Error as error:
            raise StageError(f"{folder} is not a store of codes ({error}); run: make codes") from None
        if raw is None:
            raise StageError(f"{folder} has no schema record, so it was never finished; run: make codes")
        try:
            schema = Schema.from_json(bytes(raw))
        except (TypeError, ValueError) as error:
            raise StageError(f"{folder} is a store {error}; run: make codes") from None
        for name, wanted in (("vqvae", vqvae), ("blip", blip)):
            made_by = getattr(schema, name)
            if wanted is not None and made_by != wanted:
                raise StageError(
                    f"{folder} was made by {name} {made_by[:12]}, wanted is {wanted[:12]}; run: make codes"
                )
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

    def record(self, split: str, number: int) -> np.void:
        """One record, a copy; fields as in `Schema.row`.

        Raises:
            StageError: it is missing or of the wrong size.
        """
        with self.views(split) as view:
            return view(number).copy()

    @contextmanager
    def views(self, split: str) -> Iterator[Any]:
        """A function from the number of a record to it, without a copy; views end with the `with` block.

        Raises:
            StageError: a record is missing or of the wrong size.
        """
        row = self.schema.row
        with self._environment().begin(buffers=True) as transaction:

            def view(number: int) -> Any:
                (place,) = keys("codes", split, (number,))
                raw = transaction.get(place)
                if raw is None or len(raw) != row.itemsize:
                    raise self._wrong_size(split, number, raw)
                return np.frombuffer(raw, dtype=row, count=1)[0]

            yield view

    def records(self, split: str, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Records of these numbers, in their order: structured array (b,) of `Schema.row`, a copy.

        Raises:
            StageError: one is missing or of the wrong size.
        """
        row, wanted = self.schema.row, np.asarray(numbers).tolist()
        with self._environment().begin(buffers=True) as transaction, transaction.cursor() as cursor:
            found = cursor.getmulti(list(keys("codes", split, wanted)))
            raw = b"".join([value for _, value in found])
        if len(found) != len(wanted) or len(raw) != len(wanted) * row.itemsize:
            self._find_damage(split, wanted)
        return np.frombuffer(raw, dtype=row)

    def read(self, split: str) -> SplitCodes:
        """Every record of a split.

        Raises:
            StageError: there is no such split, or a record is missing or of the wrong size.
        """
        rows = self.records(split, range(self.count(split)))
        return SplitCodes(
            rows["record_row"].astype(np.int64),
            *(np.ascontiguousarray(rows[name]) for name in ("top", "bottom", "text")),
        )

    def read_train(self) -> SplitCodes:
        """Every record to learn from: those of `train`, then their shifted views where there are any."""
        parts = [self.read(split) for split in ("train", VIEWS) if split in self.splits]
        return SplitCodes(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ("record_rows", "top", "bottom", "text"))
        )

    def about(self, split: str, numbers: Sequence[int] | None = None) -> list[About]:
        """Captions and file names of these records of a split; None for all.

        Raises:
            StageError: one is missing.
        """
        chosen = range(self.count(split)) if numbers is None else numbers
        with self._environment().begin() as transaction:
            found = [transaction.get(place) for place in keys("about", split, chosen)]
        for number, raw in zip(chosen, found, strict=True):
            if raw is None:
                raise StageError(f"the code store says nothing about record {split}/{number}; run: make codes")
        return [About(**json.loads(raw)) for raw in found]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "schema": self.schema, "_opened": None}

    def _environment(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():  # LMDB must not be used across a fork
            self._opened = (os.getpid(), _environment(self.folder))
        return self._opened[1]

    def _find_damage(self, split: str, numbers: list[int]) -> None:
        with self.views(split) as view:
            for number in numbers:
                view(number)
        raise StageError(f"the code store's records of {split} cannot be read together; run: make codes")

    def _wrong_size(self, split: str, number: int, raw: Any) -> StageError:
        return StageError(
            f"the code store's record {split}/{number} has {0 if raw is None else len(raw)} bytes, "
            f"its schema says {self.schema.row.itemsize}; run: make codes"
        )


_opened: WeakValueDictionary[tuple[int, int], Any] = WeakValueDictionary()
_opening = threading.Lock()


def _environment(folder: Path) -> Any:
    """The read-only LMDB environment of a folder: one per process and file, because LMDB allows no second one. Known
    by device and inode: a folder that was published anew is another one."""
    try:
        status = os.stat(folder / "data.mdb")
    except OSError as error:
        raise lmdb.Error(f"{folder / 'data.mdb'}: {error.strerror}") from None
    with _opening:
        environment = _opened.get((status.st_dev, status.st_ino))
        if environment is None:
            options = {"readonly": True, "lock": False, "readahead": False, "create": False}
            environment = _opened[status.st_dev, status.st_ino] = lmdb.open(str(folder), max_spare_txns=8, **options)
        return environment


def _close_inherited() -> None:
    """An environment must not be used across a fork, and LMDB opens none that it believes open: the child closes its
    copies, which are still the parent's to use."""
    global _opening
    _opening = threading.Lock()
    for environment in list(_opened.values()):
        environment.close()
    _opened.clear()


os.register_at_fork(after_in_child=_close_inherited)
