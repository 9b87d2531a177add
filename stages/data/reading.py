"""Reads picture files into the prepared set on all cores, and takes of each what its duplicates are found by.

Threads, not processes: Pillow lets go of the interpreter while it decodes and resizes, which is most of the time.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.config.data import PicturesConfig
from stages.data.duplicates import Looks, thumbnail
from stages.data.entries import Entry
from stages.data.pictures import read_picture
from stages.data.prepared import PictureFile
from stages.errors import StageError

_BLOCK = 64  # pictures that a thread reads at a time


def read_all(entries: Sequence[Entry], pictures: PictureFile, config: PicturesConfig) -> Looks:
    """Reads every entry's picture into its row; returns what they look like.

    Raises:
        StageError: a picture is broken; the first one, in the order of the entries.
    """
    looks = Looks.empty(len(entries))  # filled in place: small arrays kept of each block would scatter the memory
    with tqdm(total=len(entries), desc="data: reading", unit="picture") as progress:
        for done in _in_threads(len(entries), lambda rows: _read_block(entries, rows, pictures, looks, config)):
            progress.update(done)
    return looks


def _in_threads(count: int, read_block: Callable[[range], int]) -> Iterator[int]:
    """Block by block in order, with few blocks under way: as many as keep every core at work."""
    workers = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(workers)
    running: deque[Future[int]] = deque()
    try:
        for start in range(0, count, _BLOCK):
            running.append(pool.submit(read_block, range(start, min(start + _BLOCK, count))))
            if len(running) > 2 * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_block(
    entries: Sequence[Entry], rows: range, pictures: PictureFile, looks: Looks, config: PicturesConfig
) -> int:
    digests, thumbnails = [], []
    for row in rows:
        picture = _read(entries[row], pictures.size, config)
        pictures.write(row, picture)
        digests.append(hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).digest())
        thumbnails.append(thumbnail(picture))
    looks.put(rows, np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2), np.stack(thumbnails))
    return len(rows)


def _read(entry: Entry, size: int, config: PicturesConfig) -> NDArray[np.uint8]:
    try:
        return read_picture(_opened(entry), size, config.resize, config.background)
    except Exception as error:  # Pillow's plugins raise anything on a broken file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StageError(
            f"{entry.place}: the picture {entry.path} is broken ({reason}); replace the file or remove the record"
        ) from None


def _opened(entry: Entry) -> Path | BinaryIO:
    """The picture's file; what lies within an archive is read into memory."""
    if entry.span is None:
        return entry.path
    offset, size = entry.span
    with entry.path.open("rb") as file:
        file.seek(offset)
        return io.BytesIO(file.read(size))
