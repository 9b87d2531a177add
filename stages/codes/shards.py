"""Rank files: what one process has encoded of the whole, batch by batch, to be joined into a store.

The pairs are cut into batches once and for all, and a shard is a run of whole batches: a network may round differently
in a batch of another size, so the batch is what must be the same for the same codes. A shard is one LMDB file with the
keys `origin`, `rows/<batch>` and `about/<batch>`; it grows from its first batch to its last, and goes on where it was
stopped.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb
import numpy as np
from tqdm import tqdm

from stages.codes.mapped import open_mapped
from stages.codes.schema import CodeRecords, Schema
from stages.codes.views import VIEWS
from stages.codes.writer import FIRST_MAP_BYTES, CodeWriter, put_all
from stages.errors import StageError

log = logging.getLogger("stages.codes")
SHARD_FORMAT = "blip-vq-snail codes shard 1"
COMMIT_SECONDS = 2.0
COMMIT_BYTES = 4 << 20
_ORIGIN_KEY = b"origin"


@dataclass(frozen=True)
class Batch:
    """Pairs that are encoded together."""

    number: int
    """Its place among all batches of the run."""
    split: str
    """Split that they are taken from."""
    view: int | None
    """Number of the shifted view; None: the pictures as they are."""
    start: int
    """First pair, in the split."""
    stop: int

    @property
    def count(self) -> int:
        """Pairs in it."""
        return self.stop - self.start

    @property
    def stored_in(self) -> str:
        """Split of the store that they go to."""
        return self.split if self.view is None else VIEWS


@dataclass(frozen=True)
class Shard:
    """One of a run's rank files, there or not."""

    path: Path
    number: int
    """From 1."""
    shards: int
    all_batches: Sequence[Batch]
    """Those of the whole run."""
    schema: Schema
    origin: dict[str, Any]
    """What else decides the codes: settings, seed, prepared set; JSON values."""
    remedy: str
    """The command that makes it."""

    @property
    def batches(self) -> Sequence[Batch]:
        """Its own."""
        first, last = (len(self.all_batches) * place // self.shards for place in (self.number - 1, self.number))
        return self.all_batches[first:last]

    @property
    def description(self) -> dict[str, Any]:
        """What the file must say of itself."""
        place = {"format": SHARD_FORMAT, "shard": f"{self.number}/{self.shards}", "batches": len(self.all_batches)}
        return place | {f"schema.{k}": v for k, v in json.loads(self.schema.to_json()).items()} | self.origin

    def count_done(self) -> int:
        """How many of its batches are there.

        Raises:
            StageError: the file is missing, cut short, or of another run, naming the difference and both sides.
        """
        if not self.path.is_file():
            raise StageError(f"shard {self.number}/{self.shards} is missing: no {self.path}; run: {self.remedy}")
        mapped = open_mapped(self.path, self.remedy)
        raw = mapped.get(_ORIGIN_KEY)
        found = json.loads(raw) if raw is not None else {}
        for name, wanted in self.description.items():
            if found.get(name) != wanted:
                raise StageError(
                    f"{self.path} is not shard {self.number}/{self.shards} of this run: its {name} is "
                    f"{_short(found.get(name))}, wanted is {_short(wanted)}; remove it and run: {self.remedy}"
                )
        return (mapped.entries - 1) // 2

    def check_complete(self) -> None:
        """Makes sure that it can be joined.

        Raises:
            StageError: as `count_done`, or batches are missing, naming how many.
        """
        done, wanted = self.count_done(), len(self.batches)
        if done != wanted:
            raise StageError(f"{self.path} is unfinished: {done} of its {wanted} batches are there; run: {self.remedy}")

    def read(self) -> Iterator[tuple[Batch, np.ndarray, list[bytes]]]:
        """Its batches in order: rows (b,) of `Schema.row`, and what they belong to, as JSON.

        Raises:
            StageError: a batch is missing or of the wrong size.
        """
        for batch in self.batches:
            rows, about = self._values(batch)
            said = batch.count * self.schema.row.itemsize
            if len(rows) != said:
                raise StageError(
                    f"{self.path} is damaged: its batch {batch.number} has {len(rows)} bytes, expected {said}; "
                    f"remove it and run: {self.remedy}"
                )
            yield batch, np.frombuffer(rows, dtype=self.schema.row), about.split(b"\n")

    def _values(self, batch: Batch) -> tuple[bytes, bytes]:
        """Opened for each batch: when the map is gone, what was read of it is memory of this process no longer."""
        mapped = open_mapped(self.path, self.remedy)
        return mapped.get(_key("rows", batch)) or b"", mapped.get(_key("about", batch)) or b""


class ShardWriter:
    """Goes on with a rank file, or starts it; a context. One transaction takes several batches, so that the disk is
    seldom waited for: with a killed process the last `COMMIT_SECONDS` are lost, with one that raises nothing is.

    Raises:
        StageError: there is a file that is not this shard, see `Shard.count_done`.
    """

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        if not shard.path.exists():
            _create(shard)
        self.done = shard.count_done()
        self.environment = _open(shard.path)
        self._pending: list[tuple[bytes, bytes]] = []
        self._committed = time.monotonic()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.commit()
        _close(self.environment, self.shard.path)

    @property
    def left(self) -> Sequence[Batch]:
        """The batches that are still to be encoded."""
        return self.shard.batches[self.done :]

    def append(self, records: CodeRecords) -> None:
        """Writes the first batch of those that are left.

        Raises:
            ValueError: a code is not in [0,K), or the batch has another size.
        """
        batch = self.left[0]
        if len(records) != batch.count:
            raise ValueError(f"batch {batch.number} has {batch.count} pairs, got {len(records)}")
        rows = records.rows(self.shard.schema).tobytes()
        self._pending += [(_key("rows", batch), rows), (_key("about", batch), b"\n".join(records.about()))]
        self.done += 1
        waiting = sum(len(raw) for _, raw in self._pending)
        if waiting >= COMMIT_BYTES or time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Writes what is pending, to the disk itself."""
        put_all(self.environment, self._pending)
        self._pending, self._committed = [], time.monotonic()


def extract(shard: Shard, encode: Callable[[Batch], CodeRecords]) -> None:
    """Encodes the batches of a shard that are not in its file yet."""
    with ShardWriter(shard) as writer:
        total, left = (sum(batch.count for batch in batches) for batches in (shard.batches, writer.left))
        if left < total:
            log.info("codes: goes on after %s of %s pairs", f"{total - left:,}", f"{total:,}")
        with tqdm(initial=total - left, total=total, desc="codes", unit="pair", leave=False) as progress:
            for batch in writer.left:
                writer.append(encode(batch))
                progress.update(batch.count)


def join(shards: Sequence[Shard], folder: Path) -> Schema:
    """Writes the records of all shards in order into a store in `folder`; returns its schema.

    Raises:
        StageError: a shard is missing, unfinished, damaged, or of another run.
    """
    for shard in shards:
        shard.check_complete()
    writer = CodeWriter(folder, shards[0].schema)
    for shard in shards:
        for batch, rows, about in shard.read():
            writer.append_rows(batch.stored_in, rows, about)
    schema = writer.finish()
    (folder / "lock.mdb").unlink(missing_ok=True)  # holds nothing once no one writes
    return schema


def _create(shard: Shard) -> None:
    """A file without batches, under its name only when it says what it is."""
    partial = shard.path.with_suffix(".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    environment = _open(partial)
    put_all(environment, [(_ORIGIN_KEY, json.dumps(shard.description).encode())])
    _close(environment, partial)
    partial.replace(shard.path)


def _open(path: Path) -> Any:
    return lmdb.open(str(path), map_size=FIRST_MAP_BYTES, subdir=False, readahead=False)


def _close(environment: Any, path: Path) -> None:
    environment.close()
    Path(f"{path}-lock").unlink(missing_ok=True)  # holds nothing once no one writes


def _key(part: str, batch: Batch) -> bytes:
    return f"{part}/{batch.number:08d}".encode()


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else repr(value)
