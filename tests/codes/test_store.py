"""The store gives back what was written, and an unfinished, damaged or foreign one is an error that says so."""

from pathlib import Path

import lmdb
import numpy as np
import pytest

from stages.codes import CodeRecord, CodeStore, CodeWriter, Schema
from stages.errors import StageError


def records(count: int, seed: int = 0) -> list[CodeRecord]:
    rng = np.random.default_rng(seed)
    return [
        CodeRecord(
            rng.integers(0, 65536, (4, 4)).astype(np.uint16),
            rng.integers(0, 65536, (8, 8)).astype(np.uint16),
            rng.integers(0, 65536, 3).astype(np.uint16),
            f"caption {i} – ‘é’",
            f"images/{i}.png",
            100 + i,
        )
        for i in range(count)
    ]


def write(folder: Path, splits: dict[str, list[CodeRecord]]) -> Schema:
    writer = CodeWriter(folder / "lmdb")
    for name, rows in splits.items():
        for start in range(0, len(rows), 7):
            writer.append(name, rows[start : start + 7])
    schema = Schema(4, 8, 3, 65536, writer.counts, "v" * 64, "b" * 64)
    writer.finish(schema)
    return schema


def test_reads_back_what_was_written_in_order(tmp_path: Path) -> None:
    train, test = records(23), records(5, seed=1)
    schema = write(tmp_path, {"train": train, "test": test})
    store = CodeStore.open(tmp_path)
    assert store.schema == schema
    assert store.splits == ("train", "test")
    for name, rows in (("train", train), ("test", test)):
        codes = store.read(name)
        assert np.array_equal(codes.top, np.stack([r.top for r in rows]))
        assert np.array_equal(codes.bottom, np.stack([r.bottom for r in rows]))
        assert np.array_equal(codes.text, np.stack([r.text for r in rows]))
        assert codes.captions == [r.caption for r in rows]
        assert codes.file_names == [r.file_name for r in rows]
        assert codes.record_rows.tolist() == [r.record_row for r in rows]


def test_the_map_grows_past_its_first_size(tmp_path: Path) -> None:
    rows = [r for _ in range(100) for r in records(23)]
    writer = CodeWriter(tmp_path / "lmdb")
    writer.environment.set_mapsize(1 << 16)
    writer.append("train", rows)
    writer.finish(Schema(4, 8, 3, 65536, writer.counts, "", ""))
    assert len(CodeStore.open(tmp_path).read("train").captions) == 2300


def test_an_unfinished_store_is_refused(tmp_path: Path) -> None:
    writer = CodeWriter(tmp_path / "lmdb")
    writer.append("train", records(3))
    writer.environment.close()
    with pytest.raises(StageError, match="never finished; run: make codes"):
        CodeStore.open(tmp_path)


def test_no_store_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="run: make codes"):
        CodeStore.open(tmp_path)


def test_a_missing_record_and_a_missing_split_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"train": records(4)})
    with pytest.raises(StageError, match="no split 'val', only train"):
        CodeStore.open(tmp_path).read("val")
    environment = lmdb.open(str(tmp_path / "lmdb"))
    with environment.begin(write=True) as transaction:
        transaction.delete(b"codes/train/00000002")
    environment.close()
    with pytest.raises(StageError, match="train/2 has 0 bytes, its schema says 166"):
        CodeStore.open(tmp_path).read("train")


def test_another_format_is_refused_naming_both(tmp_path: Path) -> None:
    writer = CodeWriter(tmp_path / "lmdb")
    writer.finish(Schema(4, 8, 3, 512, {}, "", "", format="someone else's 7"))
    with pytest.raises(StageError, match=r"someone else's 7.*blip-vq-snail codes 1"):
        CodeStore.open(tmp_path)
