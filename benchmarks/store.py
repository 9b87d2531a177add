"""Reading codes from the store against reading the same rows pickled into LMDB, as the public code does."""

import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from benchmarks.timing import compare
from stages.codes import CodeRecord, CodeStore, CodeWriter, Schema

RECORDS = 5000


def cases() -> Iterator[dict[str, Any]]:
    """A split of 5,000 records of 8x8 + 16x16 codes, read whole."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = [
            CodeRecord(
                rng.integers(0, 512, (8, 8)).astype(np.uint16),
                rng.integers(0, 512, (16, 16)).astype(np.uint16),
                rng.integers(0, 512, 8).astype(np.uint16),
                "a caption of about the usual length, with a few words",
                f"{number}.png",
                number,
            )
            for number in range(RECORDS)
        ]
        writer = CodeWriter(folder / "lmdb")
        writer.append("train", records)
        writer.finish(Schema(8, 16, 8, 512, writer.counts, "", ""))
        _write_pickled(folder / "pickled", records)
        store = CodeStore.open(folder)
        yield compare(
            {"records": RECORDS, "read": "a whole split"},
            lambda: store.read("train"),
            lambda: _read_pickled(folder / "pickled"),
            repeats=5,
        )


def _write_pickled(folder: Path, records: list[CodeRecord]) -> None:
    with lmdb.open(str(folder), map_size=1 << 30) as environment, environment.begin(write=True) as transaction:
        for number, record in enumerate(records):
            row = (record.top.astype(np.int64), record.bottom.astype(np.int64), record.caption, record.file_name)
            transaction.put(str(number).encode(), pickle.dumps(row))


def _read_pickled(folder: Path) -> list[Any]:
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return [pickle.loads(transaction.get(str(number).encode()) or b"") for number in range(RECORDS)]
