"""Plots of the codes themselves: variance, usage, and which codes go together."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from stages.latents.counting import Together
from stages.latents.measures import codes_perplexity
from stages.latents.style import COLOURS, CUMULATIVE, FIRST, STYLE, head, new_figure, save

ENOUGH = 0.9
"""Share of the variance that the plot marks."""
MOST_COMPONENTS = 20
SPAN = 4.0
"""Largest over- and under-representation that the heat map tells apart, powers of two."""


def plot_explained_variance(path: Path, levels: dict[str, np.ndarray], *, drawn: str) -> str:
    """Scree (bars) and cumulative share (line) of the variance, one panel per level.

    Args:
        levels: level -> share of the variance per component, (C,).
        drawn: how many they were measured on, in words.
    """
    needed = {level: _components_needed(explained) for level, explained in levels.items()}
    title = "Variance explained by principal components"
    said = (
        f"n = {drawn}, pooled z_q. Components for {ENOUGH:.0%} of the variance (dashed): "
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


def plot_code_usage(
    path: Path,
    counts: dict[str, np.ndarray],
    varied: dict[str, np.ndarray],
    *,
    pairs: str,
    drawn: str,
) -> str:
    """How often each code occurs, sorted, and how varied the codes of each position are, one row per level.

    Args:
        counts: level -> how often each code occurs, (K,).
        varied: level -> perplexity of the codes at each position, (...).
        pairs: what was counted, in words.
        drawn: what the perplexities were measured on, in words.
    """
    title = "How often each code is used, and where codes vary"
    said = (
        f"{pairs}; {len(next(iter(counts.values())))} codes a level. Left: codes sorted by frequency, dashed: all "
        f"equally often. Right: perplexity of the codes at each position, n = {drawn}, one scale for all."
    )
    highest = max(float(values.max()) for values in varied.values())
    with mpl.rc_context(STYLE):
        figure = new_figure(0.8 + 2.0 * len(counts))
        panels = figure.subplots(len(counts), 2, squeeze=False, width_ratios=(2.2, 1))
        for number, level in enumerate(counts):
            _sorted_bars(panels[number, 0], level, counts[level], COLOURS[number % 6])
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


def plot_co_occurrence(path: Path, together: Together, *, information: tuple[float, float], drawn: str) -> str:
    """Which bottom codes lie under which top code, more or less often than by chance, as a heat map in clustered order.

    Args:
        together: of the most frequent codes, which are shown.
        information: normalised mutual information of all codes, and its value by chance.
        drawn: what that was measured on, in words.
    """
    lift, rows, columns = clustered_lift(together)
    covered = together.counts.sum() / max(1, together.positions)
    title = "Which bottom codes lie under which top code"
    said = (
        f"n = {together.positions:,} positions; the {len(rows)} most frequent top and {len(columns)} bottom codes, "
        f"{covered:.0%} of the positions, ordered by clustering. Normalised mutual information {information[0]:.3f} "
        f"(chance {information[1]:.3f}; n = {drawn}). Colour: observed over expected if the levels were independent, "
        "one added to both; white: as expected, or too rare to say."
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


def clustered_lift(together: Together) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log2((observed + 1) / (expected + 1)), alike codes side by side. One is added to both because pairs of which
    hardly one was expected say nothing by being absent.

    Returns:
        (R,C) in [-SPAN,SPAN], and the codes of its rows (R,) and columns (C,).
    """
    lift = np.clip(np.log2((together.counts + 1) / (together.expected + 1)), -SPAN, SPAN)
    across, down = _alike_order(lift), _alike_order(lift.T)
    return lift[np.ix_(across, down)], together.top[across], together.bottom[down]


def _alike_order(rows: np.ndarray) -> np.ndarray:
    """The order in which neighbours are as alike as can be: leaves of an average-linkage tree of rows (R,C)."""
    if len(rows) < 3:
        return np.arange(len(rows))
    from scipy.cluster.hierarchy import leaves_list, linkage

    leaves: np.ndarray = leaves_list(linkage(rows, method="average", optimal_ordering=True))
    return leaves
