"""What single codes paint: a grid of one code, and one code in an otherwise average picture."""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

from stages.data import to_uint8
from stages.latents.counting import CodedSplit, count_together, most_frequent
from stages.latents.style import STYLE, head, new_figure, save
from stages.vqvae import VQVAE

PER_ROW = 16
WINDOW = 32
"""Side, pixels, of what is shown around a single changed position."""
AT_A_TIME = 8
GAP = 2
FRAME = 190
"""Grey around the tiles, so that a code that paints white is seen on white."""


class Painted(NamedTuple):
    """What the most frequent codes of a level paint."""

    codes: np.ndarray
    """(C,) int64, most frequent first."""
    alone: np.ndarray
    """(C,H,W,3) uint8: the whole grid is this code, the other level at its mean over the split."""
    usual: np.ndarray
    """(C,H,W,3) uint8: the same with the other level at its mean over the positions where this code occurs."""
    change: np.ndarray
    """(C,s,s,3) uint8: what changes in the picture of both means when one position is this code; grey = nothing."""
    gain: float
    """By how much `change` is amplified."""


@torch.no_grad()
def paint_codes(vqvae: VQVAE, split: CodedSplit, counts: dict[str, np.ndarray], level: str, most: int) -> Painted:
    """Paints the most frequent codes of a level, top or bottom.

    Args:
        split: whose codes they are.
        counts: of the codes of both levels, (K,).
    """
    every = np.arange(vqvae.codebook_size)
    books = {"top": vqvae.embed_top(torch.from_numpy(every)), "bottom": vqvae.embed_bottom(torch.from_numpy(every))}
    means = {name: _weighted_mean(book, counts[name]) for name, book in books.items()}  # each (D,) of a book (K,D)
    chosen = most_frequent(counts[level], most)
    if level == "top":
        other, company = "bottom", count_together(split, chosen, every, len(every))  # (C,K)
    else:
        other, company = "top", count_together(split, every, chosen, len(every)).T
    usual = _weighted_mean(books[other], company)  # (C,D)

    def paint(own: Tensor, others: Tensor) -> Tensor:
        grids = {level: _fill(vqvae, level, own), other: _fill(vqvae, other, others)}
        return _paint(vqvae, grids["top"], grids["bottom"])

    mine = books[level][torch.from_numpy(chosen)]  # (C,D)
    change, gain = _changes(vqvae, level, mine, means)
    return Painted(
        chosen,
        to_uint8(paint(mine, means[other].expand_as(mine))),
        to_uint8(paint(mine, usual)),
        change,
        gain,
    )


def _weighted_mean(book: Tensor, counts: np.ndarray) -> Tensor:
    """Mean of the code vectors (K,D), each as often as counted (...,K): (...,D)."""
    weights = torch.from_numpy(counts / counts.sum(-1, keepdims=True)).to(book.dtype)
    return weights @ book


def _fill(vqvae: VQVAE, level: str, vectors: Tensor) -> Tensor:
    """A grid of each vector: (C,D) -> (C,D,h,w)."""
    side = vqvae.sizes.top_side if level == "top" else vqvae.sizes.bottom_side
    return vectors[:, :, None, None].repeat(1, 1, side, side)


def _paint(vqvae: VQVAE, top: Tensor, bottom: Tensor) -> Tensor:
    """`VQVAE.paint` a few pictures at a time, so that the memory of large ones stays small."""
    parts = zip(top.split(AT_A_TIME), bottom.split(AT_A_TIME), strict=True)
    return torch.cat([vqvae.paint(*part) for part in parts])


def _changes(vqvae: VQVAE, level: str, mine: Tensor, means: dict[str, Tensor]) -> tuple[np.ndarray, float]:
    """Each code (C,D) put at the middle of the picture of both means: the window around it, amplified about grey so
    that the strongest change of the median code just fits."""
    base = {name: _fill(vqvae, name, mean[None]) for name, mean in means.items()}
    changed = {name: grid.repeat(len(mine), 1, 1, 1) if name == level else grid for name, grid in base.items()}
    middle = changed[level].shape[-1] // 2
    changed[level][:, :, middle, middle] = mine
    other = "bottom" if level == "top" else "top"
    changed[other] = changed[other].expand(len(mine), -1, -1, -1)
    difference = _paint(vqvae, changed["top"], changed["bottom"]) - _paint(vqvae, base["top"], base["bottom"])
    strongest = float(difference.abs().amax((1, 2, 3)).median())
    gain = 1 / strongest if strongest > 0 else 1.0
    size = difference.shape[-1]
    window = min(WINDOW if level == "top" else WINDOW // 2, size)
    centre = round((middle + 0.5) * size / changed[level].shape[-1])
    start = min(max(0, centre - window // 2), size - window)
    cut = difference[:, :, start : start + window, start : start + window]
    return to_uint8(gain * cut), gain


def plot_code_sheet(path: Path, painted: dict[str, Painted], *, split: str) -> str:
    """Both levels' codes in blocks of three rows: alone, in usual company, and the change at one position."""
    title = "What single codes paint"
    gains = ", ".join(f"{each.gain:.0f} x on the {level} level" for level, each in painted.items())
    most = max(len(each.codes) for each in painted.values())
    said = (
        f"The {most} most frequent codes of '{split}' a level, most frequent "
        "first. Row 1: the whole grid is this code, the other level at its mean over the split. Row 2: the other level "
        "at its mean where this code occurs. Row 3: what changes when one middle position of the picture of both means "
        f"becomes this code, enlarged, grey = nothing, amplified {gains}."
    )
    sheets = {level: sheet(each) for level, each in painted.items()}
    heights = [rows.shape[0] for rows in sheets.values()]
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        width = next(iter(sheets.values())).shape[1]
        figure = new_figure(1.5 + 6.0 * sum(heights) / width)
        panels = figure.subplots(len(sheets), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (level, picture) in zip(panels, sheets.items(), strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_title(f"{level} level", fontsize=10)
            axes.set_axis_off()
        head(figure, title, said)
        save(figure, path, few_colours=False)
    return f"{title}. {said}"


def sheet(painted: Painted, side: int = 48) -> np.ndarray:
    """Blocks of `PER_ROW` codes, three rows of tiles each, as one picture (H,W,3) uint8 on white."""
    blocks = []
    for start in range(0, len(painted.codes), PER_ROW):
        part = slice(start, start + PER_ROW)
        rows = [_row(tiles[part], side) for tiles in (painted.alone, painted.usual, painted.change)]
        blocks.append(np.concatenate(rows))
        blocks.append(np.full((3 * GAP, rows[0].shape[1], 3), 255, dtype=np.uint8))
    return np.concatenate(blocks[:-1])


def _row(tiles: np.ndarray, side: int) -> np.ndarray:
    """Tiles (C,s,s,3) side by side, scaled to `side`, as wide as `PER_ROW` of them."""
    from PIL import Image

    row = np.full((side + GAP, PER_ROW * (side + GAP), 3), 255, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        scaled = Image.fromarray(tile).resize((side, side), Image.Resampling.BICUBIC)
        left = number * (side + GAP)
        row[:, left : left + side + GAP] = FRAME
        row[:side, left : left + side] = np.asarray(scaled)
    return row
