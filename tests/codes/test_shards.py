"""Extraction stopped anywhere goes on, and shards join to the very bytes of a run in one go; wrong shards are named."""

import dataclasses
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from stages.codes import CodeRecords, CodeStore, Schema, shards
from stages.codes.shards import Batch, Shard, ShardWriter, extract, join
from stages.codes.views import VIEWS
from stages.errors import StageError

SCHEMA = Schema(4, 8, 3, 512, "v" * 64, "b" * 64, chunk=50)
ORIGIN = {"data": "d" * 64, "seed": 0, "codes.batch_size": 9}
SPLITS: tuple[tuple[str, int | None, int], ...] = (("train", None, 400), ("test", None, 30), ("train", 0, 400))


def plan() -> list[Batch]:
    batches: list[Batch] = []
    for split, view, count in SPLITS:
        for start in range(0, count, 9):
            batches.append(Batch(len(batches), split, view, start, min(start + 9, count)))
    return batches


def encode(batch: Batch) -> CodeRecords:
    rng, count = np.random.default_rng(batch.number), batch.count
    return CodeRecords(
        np.arange(batch.start, batch.stop),
        rng.integers(0, 512, (count, 4, 4)),
        rng.integers(0, 512, (count, 8, 8)),
        rng.integers(0, 512, (count, 3)),
        [f"a ‘caption’\nof {number} lines" for number in range(count)],
        [f"{batch.number}/{number}.png" for number in range(count)],
    )


def encode_slowly(batch: Batch) -> CodeRecords:
    time.sleep(0.003)  # longer than any kill is waited for in all, however fast the machine
    return encode(batch)


def shard(folder: Path, number: int = 1, count: int = 1, **changes: Any) -> Shard:
    made = Shard(folder / f"{number}-of-{count}.mdb", number, count, plan(), SCHEMA, ORIGIN, f"make {number}/{count}")
    return dataclasses.replace(made, **changes)


def joined(made: list[Shard], folder: Path) -> bytes:
    join(made, folder / "lmdb")
    assert sorted(path.name for path in (folder / "lmdb").iterdir()) == ["data.mdb"]
    return (folder / "lmdb" / "data.mdb").read_bytes()


@pytest.fixture
def uninterrupted(tmp_path: Path) -> bytes:
    folder = tmp_path / "uninterrupted"
    extract(shard(folder), encode)
    return joined([shard(folder)], folder)


def test_one_go_holds_every_batch_in_order(tmp_path: Path, uninterrupted: bytes) -> None:
    store = CodeStore.open(tmp_path / "uninterrupted")
    assert store.schema.counts == {"train": 400, "test": 30, VIEWS: 400}
    wanted = [encode(batch) for batch in plan() if batch.stored_in == VIEWS]
    assert np.array_equal(store.read(VIEWS).bottom, np.concatenate([records.bottom for records in wanted]))
    assert store.about(VIEWS)[10].caption == "a ‘caption’\nof 1 lines"
    assert store.about(VIEWS)[10].file_name == wanted[1].file_names[1]


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, uninterrupted: bytes) -> None:
    encoded: list[int] = []

    def stop_at(batch: Batch) -> CodeRecords:
        if len(encoded) in (5, 60) and encoded[-1] != -1:
            encoded.append(-1)
            raise KeyboardInterrupt
        encoded.append(batch.number)
        return encode(batch)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            extract(shard(tmp_path), stop_at)
    extract(shard(tmp_path), stop_at)
    assert [number for number in encoded if number >= 0] == list(range(len(plan())))  # each once
    assert joined([shard(tmp_path)], tmp_path) == uninterrupted


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    tmp_path: Path, uninterrupted: bytes, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "COMMIT_SECONDS", seconds)
    monkeypatch.setattr(shards, "COMMIT_BYTES", 20_000)
    rng, kills, progress = np.random.default_rng(0), 0, []
    for _ in range(200):
        child = os.fork()
        if child == 0:
            tqdm.set_lock(threading.RLock())  # its own is shared with this process: killed with it, nobody gets it back
            extract(shard(tmp_path), encode_slowly)
            os._exit(0)
        time.sleep(rng.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        progress.append(shard(tmp_path).count_done() if shard(tmp_path).path.exists() else 0)
        if not killed:
            break
        kills += 1
    assert kills >= 2 and progress == sorted(progress)
    extract(shard(tmp_path), encode)
    assert joined([shard(tmp_path)], tmp_path) == uninterrupted


@pytest.mark.parametrize("count", [2, 7, 200])  # the last is more than there are batches
def test_shards_join_to_the_bytes_of_one_go(tmp_path: Path, uninterrupted: bytes, count: int) -> None:
    made = [shard(tmp_path, number, count) for number in range(1, count + 1)]
    for one in reversed(made):
        extract(one, encode)
    assert [batch for one in made for batch in one.batches] == plan()
    assert joined(made, tmp_path) == uninterrupted


def test_a_missing_or_unfinished_shard_is_named_with_the_command(tmp_path: Path) -> None:
    made = [shard(tmp_path, number, 3) for number in (1, 2, 3)]
    extract(made[0], encode)
    extract(made[2], encode)
    with pytest.raises(StageError, match=r"shard 2/3 is missing: no .*2-of-3\.mdb; run: make 2/3"):
        join(made, tmp_path / "lmdb")
    with ShardWriter(made[1]) as writer:
        for batch in writer.left[:4]:
            writer.append(encode(batch))
    with pytest.raises(StageError, match=r"2-of-3\.mdb is unfinished: 4 of its 31 batches are there; run: make 2/3"):
        join(made, tmp_path / "lmdb")
    assert not (tmp_path / "lmdb").exists()


def test_a_shard_twice_is_named(tmp_path: Path) -> None:
    made = [shard(tmp_path, number, 3) for number in (1, 2, 3)]
    for one in made:
        extract(one, encode)
    shutil.copy(made[0].path, made[2].path)
    with pytest.raises(StageError, match=r"3-of-3\.mdb is not shard 3/3 .* its shard is '1/3', wanted is '3/3'"):
        join(made, tmp_path / "lmdb")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": dataclasses.replace(SCHEMA, vqvae="w" * 64)}, r"schema\.vqvae is v{12}\.+, wanted is w{12}"),
        ({"schema": dataclasses.replace(SCHEMA, blip="c" * 64)}, r"schema\.blip is b{12}\.+, wanted is c{12}"),
        ({"schema": dataclasses.replace(SCHEMA, bottom_side=16)}, "schema.bottom_side is 8, wanted is 16"),
        ({"schema": dataclasses.replace(SCHEMA, codebook_size=64)}, "schema.codebook_size is 512, wanted is 64"),
        ({"origin": ORIGIN | {"data": "e" * 64}}, r"data is d{12}\.+, wanted is e{12}"),
        ({"origin": ORIGIN | {"codes.batch_size": 8}}, "codes.batch_size is 9, wanted is 8"),
        ({"all_batches": plan()[:-1]}, "batches is 94, wanted is 93"),
    ],
)
def test_a_foreign_shard_is_refused_naming_both(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    made = [shard(tmp_path, number, 2) for number in (1, 2)]
    for one in made:
        extract(one, encode)
    wanted = [dataclasses.replace(one, **changes) for one in made]
    with pytest.raises(StageError, match=rf"1-of-2\.mdb is not shard 1/2 of this run: its {message}.*run: make 1/2"):
        join(wanted, tmp_path / "lmdb")
    with pytest.raises(StageError, match=message):  # nor is it written over
        extract(wanted[1], encode)
    assert made[1].count_done() == len(made[1].batches)


def test_a_shard_cut_short_is_named_with_both_sizes(tmp_path: Path) -> None:
    extract(shard(tmp_path), encode)
    size = shard(tmp_path).path.stat().st_size
    os.truncate(shard(tmp_path).path, size // 2)
    with pytest.raises(StageError, match=f"cut short: it has {size // 2} bytes, its header says {size}; run: make 1/1"):
        join([shard(tmp_path)], tmp_path / "lmdb")
    with pytest.raises(StageError, match="cut short"):
        extract(shard(tmp_path), encode)


def test_a_batch_of_another_size_is_refused(tmp_path: Path) -> None:
    with ShardWriter(shard(tmp_path)) as writer, pytest.raises(ValueError, match="batch 0 has 9 pairs, got 4"):
        writer.append(encode(plan()[44]))
