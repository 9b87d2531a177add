"""Plots of the codes themselves: variance, usage, and which codes go together."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from stages.latents.measures import co_occurrences, code_counts, codes_perplexity, position_perplexities
from stages.latents.style import COLOURS, CUMULATIVE, FIRST, STYLE, head, new_figure, save

ENOUGH = 0.9
"""Share of the variance that the plot marks."""
MOST_COMPONENTS = 20
SPAN = 4.0
"""Largest over- and under-representation that the heat map tells apart, powers of two."""


def plot_explained_variance(path: Path, levels: dict[str, np.ndarray], points: int) -> str:
    """Scree (bars) and cumulative share (line) of the variance, one panel per level.

    Args:
        levels: level -> share of the variance per component, (C,).
        points: how many points they were measured on.
    """
    needed = {level: _components_needed(explained) for level, explained in levels.items()}
    title = "Variance explained by principal components"
    said = (
        f"n = {points} pooled z_q per level. Components for {ENOUGH:.0%} of the variance (dashed): "
        + ", ".join(f"{level} {needed[level]} of {len(levels[level])}" for level in levels)
        + "."
    )
    with mpl.rc_context(STYLE):
        figure = new_figure(3.6)
        panels = np.atleast_1d(figure.subplots(1, len(levels), sharey=True))
        for panel, (level, explained) in zip(panels, levels.items(), strict=True):
            shown = explained[:MOST_COMPONENTS] * 100
            number = np.arange(1, len(shown) + 1)
            panel.bar(number, shown, color=FIRST, label="each component (scree)")
            panel.plot(number, np.cumsum(shown), color=CUMULATIVE, marker="o", markersize=3.5, label="cumulative")
            panel.axhline(100 * ENOUGH, color="#333333", linestyle="--", linewidth=0.9)
            panel.set(title=level, xlabel="principal component", ylim=(0, 104))
            panel.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_ylabel("variance explained, %")
        head(figure, title, said)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
        save(figure, path)
    return f"{title}. {said}"


def _components_needed(explained: np.ndarray) -> int:
    """How many components hold `ENOUGH` of the variance; 0 where there is none, as of a level that has collapsed."""
    return int((np.cumsum(explained) < ENOUGH - 1e-9).sum()) + 1 if explained.any() else 0


def plot_code_usage(path: Path, levels: dict[str, np.ndarray], codebook_size: int, *, split: str) -> str:
    """How often each code occurs, sorted, and how varied the codes of each position are, one row per level.

    Args:
        levels: level -> codes (N,...), of pictures or captions.
    """
    title = "How often each code is used, and where codes vary"
    counted = next(iter(levels.values()))
    said = (
        f"n = {len(counted)} pairs of '{split}'; {codebook_size} codes a level. Left: codes sorted by frequency, "
        "dashed: all equally often. Right: perplexity of the codes at each position over the pairs, one scale for all."
    )
    varied = {level: position_perplexities(indices, codebook_size) for level, indices in levels.items()}
    highest = max(float(values.max()) for values in varied.values())
    with mpl.rc_context(STYLE):
        figure = new_figure(0.8 + 2.0 * len(levels))
        panels = figure.subplots(len(levels), 2, squeeze=False, width_ratios=(2.2, 1))
        for number, (level, indices) in enumerate(levels.items()):
            _sorted_bars(panels[number, 0], level, code_counts(indices, codebook_size), COLOURS[number % 6])
            image = _position_map(panels[number, 1], level, varied[level], highest)
        panels[-1, 0].set_xlabel("code, most frequent first")
        figure.colorbar(image, ax=panels[:, 1].tolist(), shrink=0.6, label="perplexity at the position")
        head(figure, title, said)
        save(figure, path)
    return f"{title}. {said}"


def _sorted_bars(axes: Axes, level: str, counts: np.ndarray, colour: str) -> None:
    share = np.sort(counts)[::-1] / max(1, counts.sum()) * 100
    axes.fill_between(np.arange(len(share) + 1), np.append(share, share[-1:]), step="post", color=colour, linewidth=0)
    axes.axhline(100 / len(share), color="#333333", linestyle="--", linewidth=1)
    used = int((counts > 0).sum())
    text = f"{level}: {used} of {len(counts)} in use, perplexity {codes_perplexity(counts):.1f}"
    axes.set_title(text, fontsize=9)
    axes.set(ylabel="share, %", xlim=(0, len(share)), ylim=(0, None))


def _position_map(axes: Axes, level: str, values: np.ndarray, highest: float) -> Any:
    """Perplexity per position as a map; the codes of a caption have no grid and make one row."""
    grid = np.atleast_2d(values)
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{level}: {' x '.join(map(str, grid.shape))}", fontsize=9, fontweight="normal")
    return axes.imshow(grid, cmap="cividis", vmin=1, vmax=max(highest, 1.001))


def plot_co_occurrence(
    path: Path, top: np.ndarray, bottom: np.ndarray, codebook_size: int, *, most: int, information: tuple[float, float]
) -> str:
    """Which bottom codes lie under which top code, more or less often than by chance, as a heat map in clustered order.

    Args:
        top, bottom: (P,) paired codes, as `code_pairs` gives them.
        most: codes of each level shown, the most frequent ones.
        information: normalised mutual information, and its value by chance.
    """
    lift, rows, columns, covered = clustered_lift(co_occurrences(top, bottom, codebook_size), most)
    title = "Which bottom codes lie under which top code"
    said = (
        f"n = {len(top):,} positions; the {len(rows)} most frequent top and {len(columns)} bottom codes, {covered:.0%} "
        f"of the positions, ordered by clustering. Normalised mutual information {information[0]:.3f} (chance "
        f"{information[1]:.3f}). Colour: observed over expected if the levels were independent, one added to both; "
        "white: as expected, or too rare to say."
    )
    pale = LinearSegmentedColormap.from_list("pale", mpl.colormaps["PuOr_r"](np.linspace(0.12, 0.88, 257)))
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = new_figure(6.4)
        axes = figure.subplots()
        image = axes.imshow(lift, cmap=pale, vmin=-SPAN, vmax=SPAN, interpolation="nearest", aspect="auto")
        axes.set(xlabel="bottom code, clustered order", ylabel="top code, clustered order", xticks=[], yticks=[])
        ticks = np.arange(-SPAN, SPAN + 1, 2)
        bar = figure.colorbar(image, ax=axes, ticks=ticks, shrink=0.8, label="(observed + 1) / (expected + 1)")
        bar.ax.set_yticklabels([f"{2.0**tick:g}" for tick in ticks])
        head(figure, title, said)
        save(figure, path, few_colours=False)
    return f"{title}. {said}"


def clustered_lift(counts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """log2((observed + 1) / (expected + 1)) of the most frequent codes, alike codes side by side. One is added to both
    because pairs of which hardly one was expected say nothing by being absent.

    Args:
        counts: (K,K) co-occurrences.

    Returns:
        (R,C) in [-SPAN,SPAN]; the codes of its rows (R,) and columns (C,); and the share of all co-occurrences that it
        covers.
    """
    total = max(1, counts.sum())
    expected = np.outer(counts.sum(1), counts.sum(0)) / total
    lift = np.clip(np.log2((counts + 1) / (expected + 1)), -SPAN, SPAN)
    rows, columns = (_most_frequent(counts.sum(axis), most) for axis in (1, 0))
    shown = lift[np.ix_(rows, columns)]
    across, down = _alike_order(shown), _alike_order(shown.T)
    rows, columns = rows[across], columns[down]
    return lift[np.ix_(rows, columns)], rows, columns, float(counts[np.ix_(rows, columns)].sum() / total)


def _most_frequent(counts: np.ndarray, most: int) -> np.ndarray:
    order = np.argsort(-counts, kind="stable")[:most]
    chosen: np.ndarray = order[counts[order] > 0]
    return chosen


def _alike_order(rows: np.ndarray) -> np.ndarray:
    """The order in which neighbours are as alike as can be: leaves of an average-linkage tree of rows (R,C)."""
    if len(rows) < 3:
        return np.arange(len(rows))
    from scipy.cluster.hierarchy import leaves_list, linkage

    leaves: np.ndarray = leaves_list(linkage(rows, method="average", optimal_ordering=True))
    return leaves
