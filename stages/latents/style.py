"""The one style of every plot: light background, sizes that a phone can show, colours of Okabe & Ito that colour-blind
readers can tell apart, a marker per label besides, and under each title the figures by which to judge the plot."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#882255")
"""Okabe & Ito's colours, their yellow, too pale on white, replaced by Tol's wine."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
ABSENT_COLOUR = "#bdbdbd"
MOST_LABELS = 14
DPI = 150
WIDTH = 6.0  # inches: small enough that its text can still be read when a phone shows it
FIRST, CUMULATIVE = COLOURS[0], COLOURS[3]
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "savefig.facecolor": "white",
    "text.parse_math": False,  # labels come from outside, and a $ in them is a $
}
_LETTERS_PER_INCH = 14.6  # of the small text under a title


class Look(NamedTuple):
    """How the points of a label are drawn."""

    label: str
    colour: str
    marker: str


def looks(order: Sequence[str]) -> list[Look]:
    """A colour and a marker per label; the pair is different for each of the first 24."""
    return [
        Look(label, COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
        for number, label in enumerate(order)
    ]


def legend_name(label: str) -> str:
    """A label as matplotlib shows it: one that begins with an underscore would be left out of the legend."""
    return f" {label}" if label.startswith("_") else label


def merge_rare_labels(
    labels: np.ndarray, order: Sequence[str], most: int = MOST_LABELS
) -> tuple[np.ndarray, list[str]]:
    """Labels (N,) and their order with all but the most frequent called "other", so that a legend stays readable.

    Labels that the order does not name stay as they are.
    """
    if len(order) <= most:
        return labels, list(order)
    counts = {label: int((labels == label).sum()) for label in order}
    kept = set(sorted(order, key=lambda label: -counts[label])[: most - 1])
    merged = np.array([label if label in kept or label not in counts else "other" for label in labels.tolist()])
    return merged, [label for label in order if label in kept] + ["other"]


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of this size in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def head(figure: Figure, title: str, said: str) -> None:
    """Title, and under it in small type what must be known to read the plot."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(said, int(width * _LETTERS_PER_INCH))
    figure.text(0.012, 1 - 0.07 / height, title, fontsize=12.5, fontweight="bold", va="top")
    figure.text(0.012, 1 - 0.33 / height, "\n".join(lines), fontsize=8.5, color="#444444", va="top", linespacing=1.3)
    taken = (0.40 + 0.155 * len(lines)) / height
    engine = figure.get_layout_engine()
    assert engine is not None  # made by `new_figure`
    engine.set(rect=(0, 0, 1, 1 - taken))


def legend(figure: Figure, axes: Axes) -> None:
    """The legend under the plot, as many columns as its longest name leaves room for."""
    handles, names = axes.get_legend_handles_labels()
    shown = [name if len(name) <= 36 else name[:35] + "…" for name in names]
    most = int(np.clip(66 // (max(map(len, shown)) + 5), 1, 5))
    columns = -(-len(shown) // -(-len(shown) // most))  # rows as full as each other
    figure.legend(handles, shown, loc="outside lower center", ncols=columns, handletextpad=0.2, columnspacing=1.2)


def marker_size(points: int) -> float:
    """Area of a marker, points squared: large for few points, never below what can still be told apart."""
    return float(np.clip(9000 / max(1, points), 22, 80))


def save(figure: Figure, path: Path, *, few_colours: bool = True, dpi: int = DPI) -> None:
    """Writes a PNG.

    Args:
        few_colours: at most 256, at a third of the size; not for plots that hold pictures.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    with Image.open(buffer) as image:
        drawn = image.convert("RGB")
    if few_colours:
        drawn = drawn.quantize(256, method=Image.Quantize.MEDIANCUT)
        palette = np.array(drawn.getpalette(), dtype=np.uint8).reshape(-1, 3)
        palette[np.asarray(drawn)[0, 0]] = 255  # the background: its cell's mean is not quite white
        drawn.putpalette(palette.tobytes())
    drawn.save(path, optimize=True)
