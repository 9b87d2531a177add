"""A view with the pictures themselves instead of dots."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from PIL import Image

from stages.latents.colourings import ABSENT, Colouring
from stages.latents.scatter import judgement
from stages.latents.style import (
    ABSENT_COLOUR,
    COLOURS,
    STYLE,
    head,
    legend,
    legend_name,
    looks,
    merge_rare_labels,
    new_figure,
    save,
)
from stages.latents.views import LEVEL_NAMES, View

SIDE = 42
"""Side of a thumbnail with its frame, pixels of the canvas."""
APART = 30
"""Least distance of two thumbnails along an axis, pixels of the canvas: the later one may cover a part of the other."""
CANVAS = 1160
"""Side of the canvas that the thumbnails are put on, pixels: about what the plot has at its resolution."""
FRAME = 3
DPI = 200


def plot_thumbnails(
    path: Path, view: View, picture_of: Callable[[int], np.ndarray], colouring: Colouring, *, drawn: str, seed: int
) -> str:
    """A view with thumbnails framed in their label's colour; one that would cover most of another is left out.

    Args:
        picture_of: number of a point -> its picture (H,W,3) uint8; only those shown are asked for.
        drawn: how many pictures there are, in words.

    Returns:
        What it shows, in words.
    """
    places = canvas_places(view.coordinates)
    order = np.random.default_rng(seed).permutation(len(places))
    shown = uncovered(places, order)
    title = f"{'PCA' if view.perplexity is None else 't-SNE'} of pooled z_q, {LEVEL_NAMES[view.level]}, as pictures"
    said = (
        f"n = {drawn}; shown are {len(shown)}, each where its point lies; the others would cover most of one of these; "
        f"{judgement(view, seed)}. Frames: {colouring.source}."
    )
    labels, names = merge_rare_labels(colouring.labels, colouring.order, len(COLOURS))
    colours = {look.label: look.colour for look in looks(names)} | {ABSENT: ABSENT_COLOUR}
    canvas = np.full((CANVAS, CANVAS, 3), 255, dtype=np.uint8)
    for row in shown:
        x, y = places[row]
        canvas[y : y + SIDE, x : x + SIDE] = framed(picture_of(row), colours[str(labels[row])])
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = new_figure(6.9)
        axes = figure.subplots()
        axes.imshow(canvas, interpolation="antialiased")
        axes.set(xticks=[], yticks=[], xlabel=view.axes[0], ylabel=view.axes[1])
        for name in names:
            axes.add_line(
                Line2D([], [], color=colours[name], marker="s", linestyle="", markersize=7, label=legend_name(name))
            )
        head(figure, title, said)
        legend(figure, axes)
        save(figure, path, dpi=DPI, few_colours=False)
    return f"{title}. {said}"


def canvas_places(coordinates: np.ndarray) -> np.ndarray:
    """Coordinates (N,2) -> left and upper edge of each thumbnail on the canvas, int64 (N,2), y downwards."""
    low, extent = coordinates.min(0), np.ptp(coordinates, axis=0)
    share = (coordinates - low) / np.where(extent == 0, 1.0, extent)
    share[:, 1] = 1 - share[:, 1]
    places: np.ndarray = (share * (CANVAS - SIDE)).round().astype(np.int64)
    return places


def uncovered(places: np.ndarray, order: np.ndarray) -> list[int]:
    """Rows of places (N,2), taken in this order, that keep `APART` from every one taken before."""
    kept: list[int] = []
    for row in order.tolist():
        apart = np.abs(places[kept] - places[row]).max(1) if kept else np.array([APART])
        if (apart >= APART).all():
            kept.append(row)
    return kept


def framed(picture: np.ndarray, colour: str) -> np.ndarray:
    """A picture (H,W,3) uint8 as a thumbnail (SIDE,SIDE,3) uint8 in a frame of that colour."""
    inner = SIDE - 2 * FRAME - 1  # and a white gap on two sides, so that neighbours stay apart
    small = Image.fromarray(np.ascontiguousarray(picture)).resize((inner, inner), Image.Resampling.LANCZOS)
    tile = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    tile[:-1, :-1] = np.round(255 * np.array(to_rgb(colour))).astype(np.uint8)
    tile[FRAME : FRAME + inner, FRAME : FRAME + inner] = np.asarray(small)
    return tile
