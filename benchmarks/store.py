"""The store of codes against pickled rows in LMDB, as the public code has them: reading, writing, memory.

`python -m benchmarks.store ours|reference write|read RECORDS FOLDER` is one measurement, in a process of its own: what
an earlier one has taken would count for the next.
"""

import contextlib
import io
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np

from benchmarks.timing import compare
from stages.codes import CodeRecords, CodeStore, Schema
from stages.codes.shards import Batch, Shard, extract, join

if TYPE_CHECKING:
    from stages.codes.encoder import Encoder

RECORDS = 20_000
FEW, MANY = 1_000, 100_000
BATCH = 256
PICTURES = 4_096
REPEATS = 5
SCHEMA = Schema(8, 16, 8, 512, "", "")


def cases() -> Iterator[dict[str, Any]]:
    """8x8 + 16x16 codes, read in random order; pictures of 64 px encoded with and without writing; peaks of memory."""
    with tempfile.TemporaryDirectory() as name:
        yield from _reading(Path(name))
    with tempfile.TemporaryDirectory() as name:
        yield _writing(Path(name))
    with tempfile.TemporaryDirectory() as name:
        yield from _memory(Path(name))


# ---- reading: the sum of a code of each record and level shows that it was read -----------------------------------


def _reading(folder: Path) -> Iterator[dict[str, Any]]:
    order = np.random.default_rng(1).permutation(RECORDS)
    with contextlib.redirect_stderr(io.StringIO()):
        _write("ours", RECORDS, folder)
    _write("reference", RECORDS, folder)
    store = CodeStore.open(folder)
    with lmdb.open(str(folder / "pickled"), readonly=True, lock=False) as pickled:
        pairs: list[tuple[str, Callable[[], int], Callable[[], int]]] = [
            ("one by one", lambda: _read_one_by_one(store, order), lambda: _read_pickled(pickled, order)),
            (
                f"in batches of {BATCH}",
                lambda: _read_batches(store, order),
                lambda: _read_pickled_batches(pickled, order),
            ),
            (
                f"in batches of {BATCH}, as int64",
                lambda: _read_batches(store, order, np.int64),
                lambda: _read_pickled_batches(pickled, order),
            ),
        ]
        for read, ours, reference in pairs:
            if ours() != reference():
                raise ValueError(f"{read}: ours and the reference have read different codes")
            yield compare({"records": RECORDS, "read": read}, ours, reference, repeats=7)


def _read_one_by_one(store: CodeStore, order: np.ndarray) -> int:
    rows, total = store.rows("train"), 0
    for number in order.tolist():
        row = rows[number]
        total += int(row["top"][0, 0]) + int(row["bottom"][0, 0])
    return total


def _read_batches(store: CodeStore, order: np.ndarray, dtype: Any = np.uint16) -> int:
    rows, total = store.rows("train"), 0
    for start in range(0, len(order), BATCH):
        chosen = rows.take(order[start : start + BATCH])
        top, bottom = (np.ascontiguousarray(chosen[level], dtype=dtype) for level in ("top", "bottom"))
        total += int(top[:, 0, 0].sum()) + int(bottom[:, 0, 0].sum())
    return total


def _read_pickled(environment: Any, order: np.ndarray) -> int:
    total = 0
    with environment.begin() as transaction:
        for number in order.tolist():
            top, bottom, _ = pickle.loads(transaction.get(str(number).encode()))
            total += int(top[0, 0]) + int(bottom[0, 0])
    return total


def _read_pickled_batches(environment: Any, order: np.ndarray) -> int:
    total = 0
    for start in range(0, len(order), BATCH):
        with environment.begin() as transaction:
            rows = [pickle.loads(transaction.get(str(n).encode())) for n in order[start : start + BATCH].tolist()]
        top, bottom = np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
        total += int(top[:, 0, 0].sum()) + int(bottom[:, 0, 0].sum())
    return total


# ---- writing: the demo's VQ-VAE, rank file and store, against the part of the same seconds that was encoding -------


def _writing(folder: Path) -> dict[str, Any]:
    from stages.codes.encoder import plan_batches

    encoder = _encoder(folder)
    batches = plan_batches(encoder.dataset, encoder.section)
    sizes = encoder.network.sizes
    schema = Schema(sizes.top_side, sizes.bottom_side, sizes.text_codes, sizes.codebook_size, "", "")

    for batch in batches[:4]:
        encoder.encode(batch)  # warm up
    runs = []
    for repeat in range(REPEATS):
        encoding = 0.0

        def encode(batch: Batch) -> CodeRecords:
            nonlocal encoding
            started = time.perf_counter()
            records = encoder.encode(batch)
            encoding += time.perf_counter() - started
            return records

        started = time.perf_counter()
        shard = Shard(folder / f"{repeat}.mdb", 1, 1, batches, schema, {}, "")
        with contextlib.redirect_stderr(io.StringIO()):  # the progress bar works, but is not seen
            extract(shard, encode)
        join([shard], folder / str(repeat))
        runs.append((time.perf_counter() - started, encoding))
    return {
        "settings": {"pictures": PICTURES, "px": sizes.image_size, "write": "encode and write, against encode"},
        "ours_s": statistics.median(total for total, _ in runs),
        "reference_s": statistics.median(encoding for _, encoding in runs),
        "ratio": statistics.median(encoding / total for total, encoding in runs),
        "repeats": REPEATS,
    }


def _encoder(folder: Path) -> "Encoder":
    import torch

    from stages.blip import Features
    from stages.codes.encoder import Encoder
    from stages.config.codes import CodesConfig
    from stages.config.vqvae import VqvaeConfig
    from stages.data import PreparedSet, Record
    from stages.vqvae import VQVAE, VQVAESizes

    torch.manual_seed(0)
    rng, section, width = np.random.default_rng(0), VqvaeConfig(), 64
    shared = {name: getattr(section, name) for name in VQVAESizes.__annotations__ if hasattr(section, name)}
    network = VQVAE(VQVAESizes(image_size=64, embedding_width=width, **shared)).eval()
    images = rng.integers(0, 256, (PICTURES, 64, 64, 3), dtype=np.uint8)
    pooled = rng.standard_normal((PICTURES, width), dtype=np.float32)
    nothing = np.empty(0)
    features = Features(nothing, nothing, nothing, nothing, pooled, pooled)
    caption = "a caption of about the usual length, with a few words"
    records = [Record(n, n, caption, f"{n}.png", "train", str(n), None) for n in range(PICTURES)]
    return Encoder(network, PreparedSet(folder, images, records, 64, None), features, CodesConfig(), 0)


# ---- memory: the most that a process of its own has held ----------------------------------------------------------


def _memory(folder: Path) -> Iterator[dict[str, Any]]:
    """Anonymous memory is the process's own; the peak counts pages of mapped files too, which the kernel takes back."""
    for doing in ("write", "read"):
        measured = {
            (side, count): _in_a_process(side, doing, count, folder / str(count))
            for count in (FEW, MANY)
            for side in ("ours", "reference")
        }
        ours, reference = measured["ours", MANY], measured["reference", MANY]
        yield {
            "settings": {"records": MANY, "memory to": doing},
            "ours_s": ours["seconds"],
            "reference_s": reference["seconds"],
            "ratio": reference["seconds"] / ours["seconds"],
            "repeats": 1,
            "mib": {f"{side} {count:,}": values for (side, count), values in measured.items()},
        }


def _in_a_process(side: str, doing: str, count: int, folder: Path) -> dict[str, float]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.store", side, doing, str(count), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure(side: str, doing: str, count: int, folder: Path) -> dict[str, float]:
    """Seconds, and the most memory (anonymous, and all that was resident) of this process until now, MiB."""
    watch = _Watch()
    started = time.perf_counter()
    if doing == "write":
        _write(side, count, folder, watch.look)
    else:
        _read(side, count, folder, watch.look)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "anonymous": watch.anonymous / 1024, "resident": _status("VmHWM") / 1024}


class _Watch:
    """The most anonymous memory that was seen, KiB."""

    def __init__(self) -> None:
        self.anonymous = 0

    def look(self) -> None:
        self.anonymous = max(self.anonymous, _status("RssAnon"))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def _write(side: str, count: int, folder: Path, look: Callable[[], None] = lambda: None) -> None:
    def encode(batch: Batch) -> CodeRecords:
        look()
        rng, size = np.random.default_rng(batch.number), batch.count
        return CodeRecords(
            np.arange(batch.start, batch.stop),
            rng.integers(0, 512, (size, 8, 8)),
            rng.integers(0, 512, (size, 16, 16)),
            rng.integers(0, 512, (size, 8)),
            ["a caption of about the usual length, with a few words"] * size,
            [f"{number}.png" for number in range(batch.start, batch.stop)],
        )

    starts = range(0, count, BATCH)
    batches = [Batch(start // BATCH, "train", None, start, min(start + BATCH, count)) for start in starts]
    if side == "ours":
        shard = Shard(folder / "1-of-1.mdb", 1, 1, batches, SCHEMA, {}, "")
        extract(shard, encode)
        join([shard], folder / "lmdb")
        look()
        return
    with lmdb.open(str(folder / "pickled"), map_size=1 << 36) as environment, environment.begin(write=True) as put:
        for batch in batches:
            records = encode(batch)
            for number in range(batch.count):  # int64, as torch has them
                row = (records.top[number], records.bottom[number], records.file_names[number])
                put.put(str(batch.start + number).encode(), pickle.dumps(row))


def _read(side: str, count: int, folder: Path, look: Callable[[], None]) -> None:
    order = np.random.default_rng(1).permutation(count)
    opened: Any
    read: Callable[[Any, np.ndarray], int]
    if side == "ours":
        opened, read = CodeStore.open(folder), _read_batches
    else:
        opened, read = lmdb.open(str(folder / "pickled"), readonly=True, lock=False), _read_pickled_batches
    for start in range(0, count, 10 * BATCH):
        read(opened, order[start : start + 10 * BATCH])
        look()


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))
