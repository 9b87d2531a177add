"""The pictures of one system, drawn a batch at a time and kept, so that a stopped run goes on from there."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from stages.metrics import Metric, Resampling, bootstrap_interval

Draw = Callable[[int, int], np.ndarray]
"""Numbers first and last + 1 of prompts -> pictures (B,H,W,3) uint8."""


@dataclass(frozen=True)
class Drawn:
    """What a system drew."""

    pictures: np.ndarray
    """(n,H,W,3) uint8."""
    batches: np.ndarray
    """(b,2) seconds and number of pictures of each batch."""


def draw_pictures(draw: Draw, count: int, batch_size: int, scratch: Path, desc: str) -> Drawn:
    """Pictures of `count` prompts, a file in `scratch` for each batch; what is compiled at first use does not count."""
    scratch.mkdir(parents=True, exist_ok=True)
    pictures, batches, warm = [], [], False
    with tqdm(total=count, desc=desc, unit="picture", leave=False, dynamic_ncols=True) as bar:
        for first in range(0, count, batch_size):
            last = min(first + batch_size, count)
            path = scratch / f"{first:06d}-{last:06d}.npz"
            if not path.is_file():
                if not warm:
                    draw(first, first + 1)
                    warm = True
                _draw_batch(draw, first, last, path)
            with np.load(path, allow_pickle=False) as batch:
                pictures.append(batch["pictures"])
                batches.append((float(batch["seconds"]), last - first))
            bar.update(last - first)
    return Drawn(np.concatenate(pictures), np.array(batches))


def seconds_per_picture(drawn: Drawn, resampling: Resampling, not_drawn: str = "") -> Metric:
    """With an interval over batches, which is what the time varies over; none where there is only one.

    Args:
        not_drawn: why no time can be given; empty where it can.
    """
    count, batches = len(drawn.pictures), len(drawn.batches)
    protocol = f"seconds to draw a picture, mean over {count}, loading not counted"
    if not_drawn:
        return Metric.unavailable(not_drawn, protocol)
    seconds, pictures = drawn.batches.sum(axis=0)
    if batches == 1:
        return Metric(float(seconds / pictures), count, None, f"{protocol}; drawn in one batch, so without an interval")
    interval = bootstrap_interval(drawn.batches, lambda sums: sums[:, 0] / sums[:, 1], resampling)
    return Metric(float(seconds / pictures), count, interval, f"{protocol}; the interval is over {batches} batches")


@torch.no_grad()
def _draw_batch(draw: Draw, first: int, last: int, path: Path) -> None:
    started = time.perf_counter()
    pictures = draw(first, last)
    seconds = time.perf_counter() - started
    partial = path.with_suffix(".partial")
    with partial.open("wb") as handle:
        np.savez(handle, pictures=pictures, seconds=np.float64(seconds))
    os.replace(partial, path)
