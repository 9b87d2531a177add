"""The pictures of one system, drawn a batch at a time and kept, so that a stopped run goes on from there."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

Draw = Callable[[int, int], np.ndarray]
"""Numbers first and last + 1 of prompts -> pictures (B,H,W,3) uint8."""


@dataclass(frozen=True)
class Drawn:
    """What a system drew."""

    pictures: np.ndarray
    """(n,H,W,3) uint8."""
    seconds_per_picture: float


def draw_pictures(draw: Draw, count: int, batch_size: int, scratch: Path, desc: str) -> Drawn:
    """Pictures of `count` prompts, a file in `scratch` for each batch."""
    scratch.mkdir(parents=True, exist_ok=True)
    pictures, seconds = [], 0.0
    with tqdm(total=count, desc=desc, unit="picture", leave=False, dynamic_ncols=True) as bar:
        for first in range(0, count, batch_size):
            last = min(first + batch_size, count)
            path = scratch / f"{first:06d}-{last:06d}.npz"
            if not path.is_file():
                _draw_batch(draw, first, last, path)
            with np.load(path, allow_pickle=False) as batch:
                pictures.append(batch["pictures"])
                seconds += float(batch["seconds"])
            bar.update(last - first)
    return Drawn(np.concatenate(pictures), seconds / count)


@torch.no_grad()
def _draw_batch(draw: Draw, first: int, last: int, path: Path) -> None:
    started = time.perf_counter()
    pictures = draw(first, last)
    seconds = time.perf_counter() - started
    partial = path.with_suffix(".partial")
    with partial.open("wb") as handle:
        np.savez(handle, pictures=pictures, seconds=np.float64(seconds))
    os.replace(partial, path)
