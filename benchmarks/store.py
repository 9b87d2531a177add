"""Reading codes from the store against reading the same rows pickled into LMDB, as the public code does."""

import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from benchmarks.timing import compare
from stages.codes import CodeRecords, CodeStore, CodeWriter, Schema

RECORDS = 20_000
BATCH = 256


def cases() -> Iterator[dict[str, Any]]:
    """20,000 records of 8x8 + 16x16 codes, read in random order: one by one, and in batches."""
    order = np.random.default_rng(1).permutation(RECORDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = _records()
        writer = CodeWriter(folder / "lmdb", Schema(8, 16, 8, 512, "", ""))
        writer.append("train", records)
        writer.finish()
        _write_pickled(folder / "pickled", records)
        store = CodeStore.open(folder)
        with lmdb.open(str(folder / "pickled"), readonly=True, lock=False) as pickled:
            yield compare(
                {"records": RECORDS, "read": "one by one"},
                lambda: _read_one_by_one(store, order),
                lambda: _read_pickled(pickled, order),
                repeats=5,
            )
            yield compare(
                {"records": RECORDS, "read": f"in batches of {BATCH}"},
                lambda: _read_batches(store, order),
                lambda: _read_pickled_batches(pickled, order),
                repeats=5,
            )


def _records() -> CodeRecords:
    rng = np.random.default_rng(0)
    return CodeRecords(
        np.arange(RECORDS),
        rng.integers(0, 512, (RECORDS, 8, 8)),
        rng.integers(0, 512, (RECORDS, 16, 16)),
        rng.integers(0, 512, (RECORDS, 8)),
        ["a caption of about the usual length, with a few words"] * RECORDS,
        [f"{number}.png" for number in range(RECORDS)],
    )


def _read_one_by_one(store: CodeStore, order: np.ndarray) -> None:
    rows = store.rows("train")
    for number in order.tolist():
        record = rows[number]
        record["top"], record["bottom"]


def _read_batches(store: CodeStore, order: np.ndarray) -> None:
    rows = store.rows("train")
    for start in range(0, RECORDS, BATCH):
        records = rows.take(order[start : start + BATCH])
        records["top"], records["bottom"]


def _write_pickled(folder: Path, records: CodeRecords) -> None:
    with lmdb.open(str(folder), map_size=1 << 30) as environment, environment.begin(write=True) as transaction:
        for number in range(RECORDS):
            row = (records.top[number], records.bottom[number], records.file_names[number])  # int64, as torch has them
            transaction.put(str(number).encode(), pickle.dumps(row))


def _read_pickled(environment: Any, order: np.ndarray) -> None:
    with environment.begin() as transaction:
        for number in order.tolist():
            pickle.loads(transaction.get(str(number).encode()))


def _read_pickled_batches(environment: Any, order: np.ndarray) -> None:
    for start in range(0, RECORDS, BATCH):
        with environment.begin() as transaction:
            rows = [pickle.loads(transaction.get(str(n).encode())) for n in order[start : start + BATCH].tolist()]
        np.stack([top for top, _, _ in rows]), np.stack([bottom for _, bottom, _ in rows])
