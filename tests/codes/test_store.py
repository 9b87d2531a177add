"""The store gives back what was written, and an unfinished, damaged or foreign one is an error that says so."""

import dataclasses
import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest

from stages.codes import About, CodeRecords, CodeStore, CodeWriter, Schema
from stages.errors import StageError

SCHEMA = Schema(4, 8, 3, 65536, "v" * 64, "b" * 64)
ROW_BYTES = 4 + 2 * (16 + 64 + 3)


def records(count: int, seed: int = 0) -> CodeRecords:
    rng = np.random.default_rng(seed)
    return CodeRecords(
        100 + np.arange(count),
        rng.integers(0, 65536, (count, 4, 4)),
        rng.integers(0, 65536, (count, 8, 8)),
        rng.integers(0, 65536, (count, 3)),
        [f"caption {i} – ‘é’" for i in range(count)],
        [f"images/{i}.png" for i in range(count)],
    )


def part(rows: CodeRecords, start: int, end: int) -> CodeRecords:
    return CodeRecords(*(getattr(rows, field.name)[start:end] for field in dataclasses.fields(rows)))


def write(folder: Path, splits: dict[str, CodeRecords]) -> Schema:
    writer = CodeWriter(folder / "lmdb", SCHEMA)
    for name, rows in splits.items():
        for start in range(0, len(rows), 7):
            writer.append(name, part(rows, start, start + 7))
    return writer.finish()


def test_reads_back_what_was_written_in_order(tmp_path: Path) -> None:
    train, test = records(23), records(5, seed=1)
    schema = write(tmp_path, {"train": train, "test": test})
    store = CodeStore.open(tmp_path)
    assert store.schema == schema == dataclasses.replace(SCHEMA, counts={"train": 23, "test": 5})
    assert store.splits == ("train", "test")
    for name, rows in (("train", train), ("test", test)):
        codes = store.read(name)
        for field in ("record_rows", "top", "bottom", "text"):
            assert np.array_equal(getattr(codes, field), getattr(rows, field)), field
        assert codes.top.dtype == np.uint16 and len(codes) == len(rows)
        assert store.about(name) == [About(*pair) for pair in zip(rows.captions, rows.file_names, strict=True)]
    assert store.about("test", [3]) == [About("caption 3 – ‘é’", "images/3.png")]


def test_a_record_alone_some_records_and_views_agree(tmp_path: Path) -> None:
    rows = records(23)
    write(tmp_path, {"train": rows})
    store = CodeStore.open(tmp_path)
    some = store.records("train", np.array([22, 0, 7, 7]))
    assert some["record_row"].tolist() == [122, 100, 107, 107]
    assert np.array_equal(some["bottom"], rows.bottom[[22, 0, 7, 7]])
    assert np.array_equal(store.record("train", 7)["top"], rows.top[7])
    with store.views("train") as view:
        assert np.array_equal(view(22)["text"], rows.text[22])
        assert not view(22)["top"].flags.owndata  # the map itself
    assert SCHEMA.row.itemsize == ROW_BYTES


def test_the_map_grows_past_its_first_size(tmp_path: Path) -> None:
    writer = CodeWriter(tmp_path / "lmdb", SCHEMA)
    writer.environment.set_mapsize(1 << 16)
    writer.append("train", records(2300))
    writer.finish()
    assert len(CodeStore.open(tmp_path).read("train")) == 2300


def _sum_of_top(store: CodeStore) -> int:
    return int(store.read("train").top.sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_threads_and_processes_share_a_store(tmp_path: Path, method: str) -> None:
    rows = records(50)
    write(tmp_path, {"train": rows})
    store = CodeStore.open(tmp_path)
    expected = [int(rows.top.sum())] * 4
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(_sum_of_top, [store] * 4)) == expected
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as processes:
        assert list(processes.map(_sum_of_top, [store] * 4)) == expected
    assert _sum_of_top(pickle.loads(pickle.dumps(store))) == expected[0]
    assert _sum_of_top(CodeStore.open(tmp_path)) == expected[0]  # a second one in the same process


def test_a_writer_that_is_killed_leaves_whole_transactions_and_no_schema(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        writer = CodeWriter(tmp_path / "lmdb", SCHEMA)
        for number in range(10_000):
            writer.append("train", records(7, seed=number))
            if number == 20:
                os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with pytest.raises(StageError, match="never finished; run: make codes"):
        CodeStore.open(tmp_path)
    unfinished = CodeStore(tmp_path / "lmdb", dataclasses.replace(SCHEMA, counts={"train": 21 * 7}))
    assert np.array_equal(unfinished.read("train").top[-7:], records(7, seed=20).top)


def test_an_unfinished_store_is_refused(tmp_path: Path) -> None:
    writer = CodeWriter(tmp_path / "lmdb", SCHEMA)
    writer.append("train", records(3))
    writer.environment.close()
    with pytest.raises(StageError, match="never finished; run: make codes"):
        CodeStore.open(tmp_path)


def test_no_store_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="run: make codes"):
        CodeStore.open(tmp_path)


def test_damaged_and_missing_records_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"train": records(4)})
    with pytest.raises(StageError, match="no split 'val', only train"):
        CodeStore.open(tmp_path).read("val")
    with lmdb.open(str(tmp_path / "lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"codes/train/00000002")
        transaction.delete(b"about/train/00000001")
    store = CodeStore.open(tmp_path)
    with pytest.raises(StageError, match=f"train/2 has 0 bytes, its schema says {ROW_BYTES}"):
        store.read("train")
    with pytest.raises(StageError, match="train/2 has 0 bytes"):
        store.record("train", 2)
    with pytest.raises(StageError, match="nothing about record train/1"):
        store.about("train")


def test_a_record_cut_short_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"train": records(4)})
    with lmdb.open(str(tmp_path / "lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"codes/train/00000001", b"short")
    with pytest.raises(StageError, match=f"train/1 has 5 bytes, its schema says {ROW_BYTES}"):
        CodeStore.open(tmp_path).read("train")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "someone else's 7"}, r"someone else's 7.*blip-vq-snail codes 2"),
        ({"sides": 3}, "with the fields .*sides.*, expected .*top_side"),
    ],
)
def test_another_schema_is_refused_naming_both(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    import json

    write(tmp_path, {"train": records(1)})
    with lmdb.open(str(tmp_path / "lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"schema", json.dumps(json.loads(transaction.get(b"schema") or b"") | changed).encode())
    with pytest.raises(StageError, match=message):
        CodeStore.open(tmp_path)


def test_codes_of_other_weights_are_refused_naming_both(tmp_path: Path) -> None:
    write(tmp_path, {"train": records(1)})
    CodeStore.open(tmp_path, vqvae="v" * 64, blip="b" * 64)
    with pytest.raises(StageError, match="made by vqvae vvvvvvvvvvvv, wanted is wwwwwwwwwwww; run: make codes"):
        CodeStore.open(tmp_path, vqvae="w" * 64)
