"""How BLIP scores related, unrelated and hard pairs: one small plot of outlined histograms per score."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot

from stages.report.curves import STYLE
from stages.report.facts import read_json
from stages.report.pictures import Figure, plot_figure

log = logging.getLogger("stages.report")

SCORES = {"itm": "ITM probability", "itc": "ITC cosine"}
LINES = {"related": ("#0072B2", "-"), "unrelated": ("#D55E00", "--"), "hard": ("#3d3d3d", (0, (1, 1)))}
"""Colour (Okabe and Ito's, told apart by the colour-blind) and dashes of each kind of pairs."""
THRESHOLDS = {"threshold": "threshold", "hard_threshold": "hard threshold"}
STEEP = 30
"""Percent in one bin from which the other bins would be too low to see, so that heights are drawn as square roots."""
HEADROOM = 1.3
"""Drawn height of the axes, in heights of the tallest bin: the thresholds' labels stand above it."""
LABEL_WIDTH = 0.36
"""Width of a threshold's label, at most, in widths of the axes."""


@dataclass(frozen=True)
class Histogram:
    """How one score is distributed over each kind of pairs."""

    score: str
    """itm or itc."""
    edges: np.ndarray
    """(k+1,) of the bins, in units of the score, increasing."""
    counts: dict[str, np.ndarray]
    """(k,) pairs by bin, by kind of pairs; only kinds that have pairs."""
    thresholds: dict[str, float]
    """By their name in the file; only those that were chosen."""


def read_histograms(path: Path) -> list[Histogram]:
    """The histograms in a `histograms.json`; what is missing, empty or (with a warning) malformed is left out.

    Raises:
        StageError: the file is there but is not JSON.
    """
    raw = read_json(path) if path.is_file() else {}
    found = []
    for score in SCORES:
        entry = raw.get(score) if isinstance(raw, dict) else None
        histogram = _parse(score, entry) if isinstance(entry, dict) else None
        if histogram is not None:
            found += [histogram] if histogram.counts else []
        elif entry is not None:
            log.warning("report: %s: '%s' is no histogram (increasing edges, counts >= 0); left out", path, score)
    return found


def _parse(score: str, entry: dict[str, Any]) -> Histogram | None:
    """The histogram; None if it is malformed."""
    edges = _numbers(entry.get("edges"))
    if edges is None or len(edges) < 2 or (np.diff(edges) <= 0).any():
        return None
    counts = {}
    for pairs in LINES:
        bins = _numbers(entry.get(pairs) or [])
        if bins is None or (len(bins) and (len(bins) != len(edges) - 1 or (bins < 0).any())):
            return None
        if bins.sum() > 0:
            counts[pairs] = bins
    chosen = {name: _numbers([entry[name]]) for name in THRESHOLDS if entry.get(name) is not None}
    thresholds = {name: float(value[0]) for name, value in chosen.items() if value is not None}
    return Histogram(score, edges, counts, thresholds)


def _numbers(raw: Any) -> np.ndarray | None:
    """A list of finite numbers as an array; None if it is anything else."""
    numbers = isinstance(raw, list) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in raw)
    array = np.array(raw, float) if numbers else None
    return array if array is not None and np.isfinite(array).all() else None


def histogram_figure(histogram: Histogram) -> Figure:
    """The drawn histogram as embedded PNG."""
    with mpl.rc_context(STYLE):
        return plot_figure(draw_histogram(histogram), describe(histogram))


def draw_histogram(histogram: Histogram) -> Plot:
    """One outline per kind of pairs, each as shares of its own pairs, and the thresholds as vertical lines."""
    plot = Plot(figsize=(4.1, 2.9))
    axes = plot.subplots(gridspec_kw={"left": 0.125, "right": 0.97, "top": 0.81, "bottom": 0.155})
    axes.set_axisbelow(True)  # else the grid cuts the outlines
    highest = 0.0
    for pairs, bins in histogram.counts.items():
        colour, dashes = LINES[pairs]
        shares = 100 * bins / bins.sum()
        highest = max(highest, float(shares.max()))
        axes.stairs(shares, histogram.edges, color=colour, linestyle=dashes, linewidth=1.6, label=pairs)
    steep = highest > STEEP
    if steep:
        axes.set_yscale("function", functions=(_root, np.square))
        axes.set_yticks([0, 1, 5, 10, 20, 40, 60, 80, 100])
    axes.set_ylim(0, highest * (HEADROOM**2 if steep else HEADROOM))
    shown = [*histogram.edges, *histogram.thresholds.values()]
    axes.set_xlim(min(shown), max(shown))
    _draw_thresholds(axes, histogram)
    plot.suptitle(SCORES[histogram.score], x=0.125, y=0.98, ha="left", fontsize=10)
    axes.set_xlabel("score")
    axes.set_ylabel("share of pairs, %" + (" (root scale)" if steep else ""))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=len(LINES), handlelength=2.6, columnspacing=1.4)
    return plot


def _root(shares: np.ndarray) -> np.ndarray:
    roots: np.ndarray = np.sqrt(np.maximum(shares, 0))  # matplotlib asks below 0 too
    return roots


def _draw_thresholds(axes: Axes, histogram: Histogram) -> None:
    """The lower one's label to its left and the upper one's to its right where there is room, one below the other."""
    low, high = axes.get_xlim()
    lowest = min(histogram.thresholds.values(), default=0.0)
    for line, (name, threshold) in enumerate(histogram.thresholds.items()):
        axes.axvline(threshold, color="#777777", linewidth=1.0, linestyle="-" if name == "threshold" else ":")
        place = (threshold - low) / (high - low)
        left = place > 1 - LABEL_WIDTH or (threshold == lowest and place > LABEL_WIDTH)
        axes.annotate(
            f"{THRESHOLDS[name]} {threshold:.2f}",
            (threshold, 0.98 - 0.1 * line),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if left else 4, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )


def describe(histogram: Histogram) -> str:
    """What the drawing shows, for who cannot see it."""
    parts = []
    for pairs, bins in histogram.counts.items():
        middle = int(np.searchsorted(np.cumsum(bins), bins.sum() / 2))
        low, high = histogram.edges[middle : middle + 2]
        parts.append(f"{bins.sum():.0f} {pairs} pairs, their median between {low:.2f} and {high:.2f}")
    parts += [f"{THRESHOLDS[name]} {threshold:.2f}" for name, threshold in histogram.thresholds.items()]
    return f"Histogram of {SCORES[histogram.score]}: {'; '.join(parts)}"
