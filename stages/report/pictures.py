"""Pictures as data URIs, and the grid of prompts by systems."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Plot
from PIL import Image

from stages.data.card import evenly_spaced
from stages.report.facts import Pictures, system_name

LOSSLESS_UP_TO = 96
"""Longest side, pixels, up to which a picture is embedded as PNG; larger ones as JPEG."""

PLOT_DPI = 140


@dataclass(frozen=True)
class Figure:
    """A picture with what is said about it."""

    source: str
    """data URI."""
    width: int
    height: int
    label: str


@dataclass(frozen=True)
class GridRow:
    """One prompt and its picture by every system."""

    prompt: str
    seed: str
    pictures: list[Figure]


def picture_uri(picture: np.ndarray, longest: int) -> tuple[str, int, int]:
    """Data URI, width and height of a picture (H,W,3) uint8, shrunk to `longest` pixels if larger."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(image.size) <= LOSSLESS_UP_TO:
        image.save(buffer, "PNG", optimize=True)
        return data_uri("image/png", buffer.getvalue()), *image.size
    image.save(buffer, "JPEG", quality=88)
    return data_uri("image/jpeg", buffer.getvalue()), *image.size


def png_figure(path: Path, label: str) -> Figure:
    """A PNG file as it is."""
    with Image.open(path) as image:
        width, height = image.size
    return Figure(data_uri("image/png", path.read_bytes()), width, height, label)


def plot_figure(plot: Plot, label: str) -> Figure:
    """A drawn plot as embedded PNG."""
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=PLOT_DPI)
    width, height = (int(inches * PLOT_DPI) for inches in plot.get_size_inches())
    return Figure(data_uri("image/png", buffer.getvalue()), width, height, label)


def data_uri(media_type: str, content: bytes) -> str:
    """The content itself as an address, so that nothing has to be fetched."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def picture_grid(pictures: Pictures, prompts: int, longest: int) -> list[GridRow]:
    """Rows of the grid: the same prompts and, within a row, the same record in every system."""
    if not pictures.systems:
        return []
    rows = []
    for row in evenly_spaced(len(pictures.prompts), prompts):
        shown = [
            Figure(*picture_uri(array[row], longest), label=system_name(system))
            for system, array in pictures.systems.items()
        ]
        seed = pictures.seeds[row]
        rows.append(GridRow(pictures.prompts[row], "" if seed is None else str(seed), shown))
    return rows
