"""Plots of the code space for the page: PNG, light background, colours of Okabe & Ito that colour-blind readers can
tell apart, and a marker per label besides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
MOST_LABELS = 14
DPI = 150
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


def plot_scatter(
    path: Path, view: np.ndarray, labels: np.ndarray, order: Sequence[str], *, title: str, axes_names: tuple[str, str]
) -> None:
    """One view (N,2), a colour and a marker per label."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure()
        _scatter(axes, view, labels, order)
        _finish(axes, title, axes_names)
        _legend(figure, axes)
        figure.savefig(path, dpi=DPI)


def plot_joint(
    path: Path, pictures: np.ndarray, captions: np.ndarray, labels: np.ndarray, order: Sequence[str], *, title: str
) -> None:
    """Pictures (N,2, filled circles) and captions (N,2, open triangles) in one view, a colour per label."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure()
        shown, names = merge_rare_labels(labels, order)
        for number, name in enumerate(names):
            mine, colour = shown == name, OKABE_ITO[number % len(OKABE_ITO)]
            style = {"s": _size(len(pictures)) * 0.9, "linewidths": 0.9}
            axes.scatter(*pictures[mine].T, marker="o", c=colour, edgecolors="white", label=name, **style)
            axes.scatter(*captions[mine].T, marker="^", facecolors="none", edgecolors=colour, **style)
        axes.scatter([], [], marker="o", c="#777777", label="picture")
        axes.scatter([], [], marker="^", facecolors="none", edgecolors="#777777", label="caption")
        _finish(axes, title, ("t-SNE 1", "t-SNE 2"))
        _legend(figure, axes)
        figure.savefig(path, dpi=DPI)


def plot_explained_variance(path: Path, levels: dict[str, np.ndarray], *, components: int = 20) -> None:
    """Share of the variance per principal component (bars) and summed up (line), one panel per level."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 3.4), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(levels), sharey=True))
        for panel, (level, explained) in zip(panels, levels.items(), strict=True):
            shown = explained[:components] * 100
            number = np.arange(1, len(shown) + 1)
            panel.bar(number, shown, color=OKABE_ITO[0], label="each component")
            panel.plot(number, np.cumsum(shown), color=OKABE_ITO[3], marker="o", markersize=3.5, label="summed up")
            panel.set(title=f"{level} level", xlabel="principal component", ylim=(0, 104))
            panel.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_ylabel("variance explained, %")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=10)
        figure.savefig(path, dpi=DPI)


def plot_code_usage(path: Path, levels: dict[str, np.ndarray]) -> None:
    """How often each code occurs, codes sorted by frequency, one panel per level; dashed: all codes used evenly."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 1.8 * len(levels) + 0.4), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(levels), 1))
        for number, (panel, (level, counts)) in enumerate(zip(panels, levels.items(), strict=True)):
            share = np.sort(counts)[::-1] / max(1, counts.sum()) * 100
            panel.bar(np.arange(len(share)), share, width=1.0, color=OKABE_ITO[number % len(OKABE_ITO)])
            panel.axhline(100 / len(share), color="#333333", linestyle="--", linewidth=1)
            panel.set(title=f"{level}: {int((counts > 0).sum())} of {len(counts)} codes in use", ylabel="share, %")
            panel.set_xlim(-0.5, len(share) - 0.5)
        panels[-1].set_xlabel("code, most frequent first (dashed: all codes equally often)")
        figure.savefig(path, dpi=DPI)


def merge_rare_labels(labels: np.ndarray, order: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Labels (N,) and their order with all but the most frequent called "other", so that a legend stays readable."""
    if len(order) <= MOST_LABELS:
        return labels, list(order)
    names, counts = np.unique(labels, return_counts=True)
    kept = set(names[np.argsort(-counts, kind="stable")][: MOST_LABELS - 1].tolist())
    merged = np.array([label if label in kept else "other" for label in labels.tolist()])
    return merged, [name for name in order if name in kept] + ["other"]


def _figure() -> tuple[Figure, Axes]:
    """A figure small enough, in inches, that its text can still be read when a phone shows it."""
    figure = Figure(figsize=(6.0, 5.6), layout="constrained")
    return figure, figure.subplots()


def _scatter(axes: Axes, view: np.ndarray, labels: np.ndarray, order: Sequence[str]) -> None:
    shown, names = merge_rare_labels(labels, order)
    for number, name in enumerate(names):
        axes.scatter(
            *view[shown == name].T,
            s=_size(len(view)),
            c=OKABE_ITO[number % len(OKABE_ITO)],
            marker=MARKERS[number % len(MARKERS)],
            edgecolors="white",
            linewidths=0.5,
            label=name,
        )


def _size(points: int) -> float:
    """Area of a marker, points squared: large for few points, never below what can still be told apart."""
    return float(np.clip(9000 / max(1, points), 26, 90))


def _finish(axes: Axes, title: str, names: tuple[str, str]) -> None:
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
    axes.tick_params(labelsize=9, colors="#555555")


def _legend(figure: Figure, axes: Axes) -> None:
    """The legend under the plot, as many columns as its longest name leaves room for."""
    handles, names = axes.get_legend_handles_labels()
    columns = int(np.clip(60 // (max(map(len, names)) + 5), 1, 5))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=10, handletextpad=0.2)
