"""Writes a store of codes: the same records give the same bytes, however they come."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from stages.codes.schema import CodeRecords, Schema, key

SCHEMA_KEY = b"schema"
DATA_FILE = "data.mdb"
FIRST_MAP_BYTES = 16 << 20


class CodeWriter:
    """Appends records, each chunk in one transaction; the map grows as needed.

    Transactions are cut by the schema's `chunk`, not by the calls, so that LMDB's pages come out the same whether the
    records were encoded in one go, in several, or in shards.

    Args:
        folder: of the new LMDB environment.
        schema: what the rows are; its counts are filled in by `finish`.
    """

    def __init__(self, folder: Path, schema: Schema) -> None:
        # A process may die at any moment and leaves whole transactions; the disk is waited for once, in `finish`
        self.environment = lmdb.open(str(folder), map_size=FIRST_MAP_BYTES, readahead=False, sync=False)
        self.schema = schema
        self.counts: dict[str, int] = {}
        self._pending: dict[str, tuple[np.ndarray, list[bytes]]] = {}

    def append(self, split: str, records: CodeRecords) -> None:
        """Writes records after those already in the split.

        Raises:
            ValueError: a code is not in [0,K).
        """
        self.append_rows(split, records.rows(self.schema), records.about())

    def append_rows(self, split: str, rows: np.ndarray, about: list[bytes]) -> None:
        """As `append`, of what `CodeRecords.rows` and `CodeRecords.about` have given."""
        if split in self._pending:
            earlier, earlier_about = self._pending[split]
            rows, about = np.concatenate([earlier, rows]), earlier_about + about
        self.counts.setdefault(split, 0)
        whole = len(rows) - len(rows) % self.schema.chunk
        for start in range(0, whole, self.schema.chunk):
            chosen = slice(start, start + self.schema.chunk)
            self._put_chunk(split, rows[chosen], about[chosen])
        self._pending[split] = rows[whole:].copy(), about[whole:]

    def finish(self) -> Schema:
        """Writes what is left and the schema record, flushes and closes; returns the schema with its counts."""
        for split, (rows, about) in self._pending.items():
            if len(rows):
                self._put_chunk(split, rows, about)
        self.environment.sync(True)  # before the record that says that all is there
        schema = dataclasses.replace(self.schema, counts=self.counts)
        put_all(self.environment, [(SCHEMA_KEY, schema.to_json())])
        self.environment.sync(True)
        self.environment.close()
        return schema

    def _put_chunk(self, split: str, rows: np.ndarray, about: list[bytes]) -> None:
        first = self.counts[split]
        items = [(key("codes", split, first // self.schema.chunk), rows.tobytes())]
        items += [(key("about", split, first + number), raw) for number, raw in enumerate(about)]
        put_all(self.environment, items)
        self.counts[split] = first + len(rows)


def put_all(environment: Any, items: Iterable[tuple[bytes, bytes]]) -> None:
    """Writes these in one transaction, growing the map until they fit."""
    chosen = list(items)
    while True:
        try:
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(chosen)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])
