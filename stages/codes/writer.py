"""Writes a store of codes."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np

from stages.codes.schema import Schema, keys

SCHEMA_KEY = b"schema"
_FIRST_MAP_BYTES = 16 << 20


@dataclass(frozen=True)
class CodeRecords:
    """Some pairs' codes and what they belong to, in the order of the split."""

    record_rows: np.ndarray
    """(b,) places of the pairs in the prepared set, and in BLIP's features."""
    top: np.ndarray
    """(b,h,w) integers in [0,K)."""
    bottom: np.ndarray
    """(b,2h,2w)."""
    text: np.ndarray
    """(b,n)."""
    captions: Sequence[str]
    file_names: Sequence[str]

    def __len__(self) -> int:
        return len(self.record_rows)


class CodeWriter:
    """Appends records, each call in one transaction; the map grows as needed.

    Args:
        folder: of the new LMDB environment.
        schema: what the rows are; its counts are filled in by `finish`.
    """

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.environment = lmdb.open(str(folder), map_size=_FIRST_MAP_BYTES, subdir=True, readahead=False)
        self.schema = schema
        self.counts: dict[str, int] = {}

    def append(self, split: str, records: CodeRecords) -> None:
        """Writes records after those already in the split."""
        rows = np.empty(len(records), dtype=self.schema.row)
        rows["record_row"] = records.record_rows
        rows["top"], rows["bottom"], rows["text"] = records.top, records.bottom, records.text
        raw, size = rows.tobytes(), rows.itemsize
        first = self.counts.get(split, 0)
        numbers = range(first, first + len(records))
        cut = (raw[start : start + size] for start in range(0, len(raw), size))
        about = (
            json.dumps({"caption": caption, "file_name": name}, ensure_ascii=False).encode()
            for caption, name in zip(records.captions, records.file_names, strict=True)
        )
        items = [*zip(keys("codes", split, numbers), cut, strict=True)]
        items += zip(keys("about", split, numbers), about, strict=True)
        self._put(items)
        self.counts[split] = numbers.stop

    def finish(self) -> Schema:
        """Writes the schema record, flushes and closes; returns the schema with its counts."""
        schema = dataclasses.replace(self.schema, counts=self.counts)
        self._put([(SCHEMA_KEY, schema.to_json())])
        self.environment.sync(True)
        self.environment.close()
        return schema

    def _put(self, items: list[tuple[bytes, bytes]]) -> None:
        while True:
            try:
                with self.environment.begin(write=True) as transaction:
                    transaction.cursor().putmulti(items)
                return
            except lmdb.MapFullError:
                self.environment.set_mapsize(2 * self.environment.info()["map_size"])
