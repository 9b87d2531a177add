"""The store gives back what was written, and an unfinished, damaged or foreign one is an error that says so."""

import dataclasses
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch

from stages.codes import About, CodeRecords, CodeStore, CodeWriter, Rows, Schema
from stages.errors import StageError

SCHEMA = Schema(4, 8, 3, 65536, "v" * 64, "b" * 64, chunk=10)
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


def test_a_record_alone_some_records_and_all_agree(tmp_path: Path) -> None:
    written = records(23)
    write(tmp_path, {"train": written})
    rows = CodeStore.open(tmp_path).rows("train")
    assert len(rows) == 23 and SCHEMA.row.itemsize == ROW_BYTES
    assert rows.record_rows.tolist() == written.record_rows.tolist()
    for number in (0, 9, 10, 19, 20, 22):
        assert np.array_equal(rows[number]["top"], written.top[number])
        assert np.array_equal(rows[number]["text"], written.text[number])
    some = rows.take(np.array([22, 0, 7, 7]))
    assert some["record_row"].tolist() == [122, 100, 107, 107]
    assert np.array_equal(some["bottom"], written.bottom[[22, 0, 7, 7]])
    assert len(rows.take([])) == 0
    assert np.array_equal(rows.take(range(23)), rows.read())
    assert [int(rows[number]["record_row"]) for number in range(23)] == written.record_rows.tolist()
    for wrong in (-1, 23):
        with pytest.raises(IndexError, match=f"records 0 to 22, asked for is {wrong}"):
            rows[wrong]
        with pytest.raises(IndexError, match=f"asked for is {wrong}"):
            rows.take([0, wrong])


def test_a_record_is_a_view_of_the_map_that_outlives_the_store(tmp_path: Path) -> None:
    written = records(23)
    write(tmp_path, {"train": written})
    store = CodeStore.open(tmp_path)
    row = store.rows("train")[22]
    del store
    gc.collect()
    assert str((tmp_path / "lmdb" / "data.mdb").resolve()) in Path("/proc/self/maps").read_text()
    assert np.array_equal(row["text"], written.text[22])
    assert not row["top"].flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        row["top"][0, 0] = 1
    child = os.fork()
    if child == 0:  # what a worker inherits is good, and does not keep it from opening the store for itself
        good = np.array_equal(row["text"], written.text[22])
        good &= np.array_equal(CodeStore.open(tmp_path).rows("train")[3]["text"], written.text[3])
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    del row
    gc.collect()
    assert str((tmp_path / "lmdb" / "data.mdb").resolve()) not in Path("/proc/self/maps").read_text()


def test_each_process_opens_the_store_for_itself(tmp_path: Path) -> None:
    write(tmp_path, {"train": records(23)})
    store = CodeStore.open(tmp_path)
    inherited = id(store.rows("train").store._mapped())
    child = os.fork()
    if child == 0:
        before = store._opened
        assert before is not None
        reference = weakref.ref(before[1])
        del before
        store.read("train")
        fresh = store._opened
        os._exit(0 if reference() is None and fresh is not None and fresh[0] == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert id(store._mapped()) == inherited


def test_the_same_records_give_the_same_bytes_however_they_come(tmp_path: Path) -> None:
    written = records(2300)
    files = []
    for step in (7, 128, 2300):
        folder = tmp_path / str(step)
        folder.mkdir()
        writer = CodeWriter(folder / "lmdb", dataclasses.replace(SCHEMA, chunk=500))
        for start in range(0, 2300, step):
            writer.append("train", part(written, start, start + step))
        writer.append("test", part(written, 0, 3))
        writer.finish()
        files.append((folder / "lmdb" / "data.mdb").read_bytes())
    assert files[0] == files[1] == files[2]


def test_a_code_that_the_code_book_has_not_is_refused(tmp_path: Path) -> None:
    writer = CodeWriter(tmp_path / "lmdb", dataclasses.replace(SCHEMA, codebook_size=1000))
    with pytest.raises(ValueError, match=r"top codes must be in \[0,1000\), got \["):
        writer.append("train", records(5))
    with pytest.raises(ValueError, match="1 to 65536, got 65537"):
        dataclasses.replace(SCHEMA, codebook_size=65537)


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


class Record(torch.utils.data.Dataset):
    """A data set as PyTorch has it, over the rows of a store."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.from_numpy(self.rows[number]["top"].astype(np.int64))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_read_it(tmp_path: Path, method: str) -> None:
    written = records(50)
    write(tmp_path, {"train": written})
    rows = CodeStore.open(tmp_path).rows("train")
    rows[0]  # the parent has read before the workers are there
    loader = torch.utils.data.DataLoader(Record(rows), batch_size=8, num_workers=2, multiprocessing_context=method)
    assert np.array_equal(torch.cat(list(loader)).numpy(), written.top)


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    written = records(500)
    write(tmp_path, {"train": written})
    store = CodeStore.open(tmp_path)

    def read(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(500)
        rows = store.rows("train")
        same = np.array_equal(rows.take(order)["bottom"], written.bottom[order])
        return same and store.about("train", [int(order[0])])[0].file_name == f"images/{order[0]}.png"

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(64)))


@pytest.mark.parametrize("collected", [False, True])
def test_threads_that_open_and_drop_one_store_at_once(tmp_path: Path, collected: bool) -> None:
    written = records(23)
    write(tmp_path, {"train": written})
    together = threading.Barrier(4)

    def read(seed: int) -> bool:
        number = seed % 23
        good = True
        for _ in range(300):
            together.wait(60)  # so that all of them have dropped it, or are about to, when all of them open it
            row = CodeStore.open(tmp_path).rows("train")[number]
            good &= np.array_equal(row["text"], written.text[number])
            if collected:
                knot: list[object] = [row]
                knot.append(knot)  # for the garbage collector, which comes when it likes, while a file is opened too
                del knot
            del row
            good &= len(CodeStore.open(tmp_path).about("train", [number])) == 1
        return good

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(read, range(4)))
    finally:
        sys.setswitchinterval(interval)
    gc.collect()
    assert str((tmp_path / "lmdb" / "data.mdb").resolve()) not in Path("/proc/self/maps").read_text()


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
    whole = 21 * 7 // SCHEMA.chunk * SCHEMA.chunk
    unfinished = CodeStore(tmp_path / "lmdb", dataclasses.replace(SCHEMA, counts={"train": whole}))
    assert np.array_equal(unfinished.read("train").top[-7:], records(7, seed=19).top)


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
    write(tmp_path, {"train": records(24)})
    with pytest.raises(StageError, match="no split 'val', only train"):
        CodeStore.open(tmp_path).read("val")
    with lmdb.open(str(tmp_path / "lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"codes/train/00000001")
        transaction.delete(b"about/train/00000001")
    store = CodeStore.open(tmp_path)
    with pytest.raises(StageError, match=f"records 10 to 19 of 'train' have 0 bytes, its schema says {10 * ROW_BYTES}"):
        store.read("train")
    with pytest.raises(StageError, match="nothing about record train/1"):
        store.about("train")


def test_a_record_cut_short_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"train": records(24)})
    with lmdb.open(str(tmp_path / "lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"codes/train/00000002", b"short")
    with pytest.raises(StageError, match=f"records 20 to 23 of 'train' have 5 bytes, its schema says {4 * ROW_BYTES}"):
        CodeStore.open(tmp_path).rows("train")


def test_a_file_cut_short_anywhere_is_refused_naming_both_sizes(tmp_path: Path) -> None:
    write(tmp_path, {"train": records(500)})
    data = tmp_path / "lmdb" / "data.mdb"
    whole = data.stat().st_size
    for size in (whole - 1, whole - 4096, whole // 2, 3 * 4096, 2 * 4096):
        os.truncate(data, size)
        with pytest.raises(
            StageError, match=f"cut short: it has {size} bytes, its header says {whole}; run: make codes"
        ):
            CodeStore.open(tmp_path)
    for size in (4096, 100, 0):
        os.truncate(data, size)
        with pytest.raises(StageError, match=r"is not a store of codes .*; run: make codes"):
            CodeStore.open(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "someone else's 7"}, r"someone else's 7.*blip-vq-snail codes 3"),
        ({"format": "blip-vq-snail codes 2"}, "codes 2'.*codes 3'; run: make codes"),
        ({"sides": 3}, "with the fields .*sides.*, expected .*top_side"),
        ({"dtypes": {"record_row": "<u4", "top": "<i8"}}, "with the dtypes .*'top': '<i8'.*reads .*'top': '<u2'"),
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
    with pytest.raises(StageError, match="made by blip bbbbbbbbbbbb, wanted is cccccccccccc; run: make codes"):
        CodeStore.open(tmp_path, blip="c" * 64)
