"""Paints pictures of the default data set, one by one or many in several processes."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.data.scenes.canvas import Canvas
from stages.data.scenes.indoors import paint_bouquet, paint_candle, paint_fish, paint_fruit
from stages.data.scenes.outdoors import paint_ships, paint_windmill

PAINTERS = {
    "ship": paint_ships,
    "fruit": paint_fruit,
    "bouquet": paint_bouquet,
    "fish": paint_fish,
    "candle": paint_candle,
    "windmill": paint_windmill,
}

VERSION = 2  # of what is painted and written for a given seed; raise it when that changes

Seed = tuple[int, ...]
Job = tuple[int, Seed, Mapping[str, str]]  # row in the array, seed of the picture, attributes

_BLOCK = 100  # pictures handed to a process at a time
_FEW = 400  # up to this many pictures are painted here: starting processes would take longer


def paint_picture(attributes: Mapping[str, str], size: int, seed: Seed) -> NDArray[np.uint8]:
    """The picture (size, size, 3) uint8 of a scene with these attributes: a pure function of its arguments.

    Args:
        attributes: `subject` and every attribute of its scene.
        size: side in pixels.
        seed: decides positions, sizes, light and brush strokes.
    """
    canvas = Canvas(size, np.random.default_rng(seed))
    PAINTERS[attributes["subject"]](canvas, attributes)
    return canvas.varnish()


def paint_all(path: Path, size: int, jobs: Sequence[Job], workers: int | None = None) -> None:
    """Paints every job into the array (N, size, size, 3) uint8 at `path`, in `workers` processes (all cores)."""
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    with tqdm(total=len(jobs), desc="data: painting", unit="picture") as progress:
        if workers < 2 or len(jobs) <= _FEW:
            for block in _blocks(jobs):
                progress.update(paint_block(path, size, block))
            return
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_follow_parent) as pool:
            blocks: list[Future[int]] = [pool.submit(paint_block, path, size, block) for block in _blocks(jobs)]
            try:
                for block_done in as_completed(blocks):
                    progress.update(block_done.result())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def paint_block(path: Path, size: int, jobs: Sequence[Job]) -> int:
    """Paints the jobs into the array at `path`; returns their number."""
    images = np.load(path, mmap_mode="r+", allow_pickle=False)
    for row, seed, attributes in jobs:
        images[row] = paint_picture(attributes, size, seed)
    return len(jobs)


def _blocks(jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
    return (jobs[start : start + _BLOCK] for start in range(0, len(jobs), _BLOCK))


def _follow_parent() -> None:
    """Ctrl-C is for the parent, which then stops its processes. One that is killed cannot: they end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
