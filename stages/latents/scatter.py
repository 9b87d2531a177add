"""Scatter plots of views: one coloured plot, several side by side, thumbnails, pictures and captions together."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from stages.latents.colourings import ABSENT, Colouring
from stages.latents.projection import chance_agreement, label_agreement
from stages.latents.style import (
    ABSENT_COLOUR,
    COLOURS,
    STYLE,
    head,
    legend,
    legend_name,
    looks,
    marker_size,
    merge_rare_labels,
    new_figure,
    save,
)
from stages.latents.views import LEVEL_NAMES, View

LINKED_PAIRS = 40
"""Captions that the joint plot links with their picture; lines for all would hide the points."""
PANEL_COLUMNS = 2


def judgement(view: View, seed: int) -> str:
    """The figures by which a view can be judged, in words."""
    return (
        f"{view.method}{f', seed {seed}' if view.perplexity else ''}; "
        f"trustworthiness {view.trustworthiness:.3f}, kNN agreement {view.knn_agreement:.2f} "
        f"(chance {view.chance_agreement:.2f}, k={view.neighbours})"
    )


def same_label(view: View, colouring: Colouring) -> str:
    """How often neighbours in the plot share their label, in words; of the points that have one."""
    known = colouring.known
    if known.sum() < 2:
        return "too few points with a label"
    shown, labels = view.coordinates[: len(known)][known], colouring.labels[known]
    share, chance = label_agreement(shown, labels, view.neighbours), chance_agreement(labels)
    return f"neighbours with the same label {share:.0%} (chance {chance:.0%})"


def plot_view(path: Path, view: View, colouring: Colouring, *, drawn: str, seed: int) -> str:
    """One view, a colour and a marker per label; returns what it shows, in words.

    Args:
        drawn: how many pictures there are, in words.
    """
    title = f"{'PCA' if view.perplexity is None else 't-SNE'} of pooled z_q, {LEVEL_NAMES[view.level]}"
    said = f"n = {drawn}; {judgement(view, seed)}. Colours: {colouring.source}; {same_label(view, colouring)}."
    with mpl.rc_context(STYLE):
        figure = new_figure(6.2)
        axes = figure.subplots()
        _points(axes, view.coordinates, colouring, marker_size(len(view.coordinates)))
        _finish(figure, axes, view, title, said, path)
    return f"{title}. {said}"


def plot_perplexities(path: Path, views: dict[str, list[View]], colouring: Colouring, *, drawn: str, seed: int) -> str:
    """Rows of levels by columns of perplexities, so that what only one perplexity shows is not believed."""
    title = "t-SNE at several perplexities"
    first = next(iter(views.values()))[0]
    said = (
        f"n = {drawn}; pooled z_q; PCA start, seed {seed}; T: trustworthiness, A: kNN "
        f"agreement (chance {first.chance_agreement:.2f}), k={first.neighbours}. Colours: {colouring.source}."
    )
    columns = max(map(len, views.values()))
    with mpl.rc_context(STYLE):
        figure = new_figure(0.9 + 2.3 * len(views))
        panels = figure.subplots(len(views), columns, squeeze=False)
        for row, (level, mine) in zip(panels, views.items(), strict=True):
            for axes, view in zip(row, sorted(mine, key=lambda view: view.perplexity or 0), strict=True):
                _points(axes, view.coordinates, colouring, 9)
                judged = f"T {view.trustworthiness:.3f}, A {view.knn_agreement:.2f}"
                _bare(axes, f"{level}, perplexity {view.perplexity:.3g}\n{judged}")
        head(figure, title, said)
        legend(figure, panels[0, 0])
        save(figure, path)
    return f"{title}. {said}"


def plot_colourings(path: Path, view: View, colourings: Sequence[Colouring], *, drawn: str, seed: int) -> str:
    """One view, a panel per colouring, each with its own legend and how often neighbours share the label."""
    method = "PCA" if view.perplexity is None else "t-SNE"
    title = f"{method} of the {LEVEL_NAMES[view.level]} in {len(colourings)} colourings"
    said = (
        f"n = {drawn}, pooled z_q; {judgement(view, seed)}. "
        f"Same label: share of the {view.neighbours} nearest in the plot that have a point's label, among those that "
        "have one; grey: the others."
    )
    rows = -(-len(colourings) // PANEL_COLUMNS)
    with mpl.rc_context(STYLE):
        figure = new_figure(0.9 + 3.1 * rows)
        panels = figure.subplots(rows, PANEL_COLUMNS, squeeze=False).reshape(-1)
        for axes, colouring in zip(panels[: len(colourings)], colourings, strict=True):
            _points(axes, view.coordinates, colouring, 14)
            said_here = same_label(view, colouring).removeprefix("neighbours with the ")
            _bare(axes, f"{colouring.name}, n = {colouring.known.sum()}\n{said_here}")
            _panel_legend(axes)
        for axes in panels[len(colourings) :]:
            axes.set_visible(False)
        head(figure, title, said)
        save(figure, path)
    return f"{title}. {said}"


def plot_joint(
    path: Path, view: View, colouring: Colouring, *, drawn: str, seed: int, nearest: np.ndarray, found: str
) -> str:
    """Pictures (filled circles) and captions (open triangles) in one view, some captions linked with their picture.

    Args:
        nearest: (N,) bool, whether the caption's own picture is among those nearest to it in the code space.
        found: how often that is so, in words.
    """
    pictures, captions = np.split(view.coordinates, 2)
    linked = np.random.default_rng(seed).permutation(len(pictures))[:LINKED_PAIRS]
    title = f"{'PCA' if view.perplexity is None else 't-SNE'} of pictures and captions together"
    said = (
        f"n = {drawn} (pooled top z_q) and a caption of each (pooled z_q of its codes); "
        f"{judgement(view, seed)}. Colours: {colouring.source}. {found} Lines link {len(linked)} captions, drawn "
        "by seed, with their picture: solid where it is among the nearest."
    )
    with mpl.rc_context(STYLE):
        figure = new_figure(6.8)
        axes = figure.subplots()
        _two_kinds(axes, pictures, captions, colouring)
        for among, style, colour in ((True, "-", "#111111"), (False, ":", "#777777")):
            lines = [(pictures[row], captions[row]) for row in linked if nearest[row] == among]
            axes.add_collection(LineCollection(lines, colors=colour, linestyles=style, linewidths=0.9, zorder=3))
        _finish(figure, axes, view, title, said, path)
    return f"{title}. {said}"


def _finish(figure: Figure, axes: Axes, view: View, title: str, said: str, path: Path) -> None:
    """What a plot of one view ends with: its axes, which have one unit, its heading, its legend, its file."""
    axes.set(xlabel=view.axes[0], ylabel=view.axes[1])
    axes.set_aspect("equal", "datalim")
    head(figure, title, said)
    legend(figure, axes)
    save(figure, path)


def _two_kinds(axes: Axes, pictures: np.ndarray, captions: np.ndarray, colouring: Colouring) -> None:
    labels, order = merge_rare_labels(colouring.labels, colouring.order, len(COLOURS))
    size = marker_size(2 * len(pictures))
    absent = [(ABSENT, ABSENT_COLOUR)] if (labels == ABSENT).any() else []
    for label, colour in [*absent, *((look.label, look.colour) for look in looks(order))]:
        mine = labels == label
        axes.scatter(
            *pictures[mine].T,
            s=size,
            marker="o",
            c=colour,
            edgecolors="white",
            linewidths=0.4,
            label=legend_name(label),
        )
        axes.scatter(*captions[mine].T, s=size, marker="^", facecolors="none", edgecolors=colour, linewidths=0.9)
    axes.scatter([], [], marker="o", c="#777777", label="picture")
    axes.scatter([], [], marker="^", facecolors="none", edgecolors="#777777", label="caption")


def _points(axes: Axes, coordinates: np.ndarray, colouring: Colouring, size: float) -> None:
    labels, order = merge_rare_labels(colouring.labels, colouring.order)
    absent = labels == ABSENT
    if absent.any():
        axes.scatter(*coordinates[absent].T, s=size * 0.5, c=ABSENT_COLOUR, marker=".", linewidths=0, label=ABSENT)
    for label, colour, marker in looks(order):
        mine = coordinates[labels == label]
        style = {"edgecolors": "white", "linewidths": 0.4 if size > 15 else 0.2}
        axes.scatter(*mine.T, s=size, c=colour, marker=marker, label=legend_name(label), **style)


def _bare(axes: Axes, text: str) -> None:
    """A panel without ticks, whose units mean nothing, under a small title."""
    axes.set_title(text, fontsize=8.5, fontweight="normal", color="#222222")
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", "datalim")


def _panel_legend(axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    kept = [(handle, name) for handle, name in zip(handles, names, strict=True) if name != ABSENT]
    handles, names = [handle for handle, _ in kept], [name if len(name) <= 18 else name[:17] + "…" for _, name in kept]
    fits = sum(len(name) + 4 for name in names) <= 38
    columns = len(names) if fits else 2 if max(map(len, names)) > 9 else 3
    axes.legend(
        handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=columns, fontsize=8,
        handletextpad=0.1, columnspacing=0.8, borderaxespad=0.2, markerscale=1.4,
    )  # fmt: skip
