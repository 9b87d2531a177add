"""What the runs paint for the same prompts, and their training curves in the same plots."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Plot

from stages.data.card import evenly_spaced
from stages.report.compare.runs import COMPARED_STAGES, MOST_RUNS, Run
from stages.report.compare.tables import SYSTEMS
from stages.report.curves import STYLE, Curve, read_curves
from stages.report.facts import Pictures, system_name
from stages.report.page import CurveGroup
from stages.report.pictures import Figure, GridRow, picture_uri, plot_figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6a51a3", "#777777")
"""Of the runs, in the order they are named (Okabe and Ito's, and two more)."""
MOST_PANELS = 8
assert len(COLOURS) == MOST_RUNS


def shared_rows(runs: Sequence[Run]) -> list[list[int]]:
    """For each prompt that all runs were evaluated on, its row in each; a repeated one only where all rows agree."""
    prompts = [run.facts.pictures.prompts for run in runs]
    if all(texts == prompts[0] for texts in prompts):
        return [[row] * len(runs) for row in range(len(prompts[0]))]
    places = [{text: row for row, text in reversed(list(enumerate(texts)))} for texts in prompts]
    common = [text for text in places[0] if all(text in others for others in places[1:])]
    return sorted([found[text] for found in places] for text in common)


def runs_grid(runs: Sequence[Run], rows: Sequence[list[int]], prompts: int, longest: int) -> list[GridRow]:
    """Rows of prompts, evenly spaced: each painter by every run, then the real picture.

    Args:
        rows: those of `shared_rows`.
        longest: longest side of a picture, pixels.
    """
    galleries = [run.facts.pictures for run in runs]
    agreed = all(gallery.prompts == galleries[0].prompts for gallery in galleries)
    return [_grid_row(runs, galleries, rows[place], agreed, longest) for place in evenly_spaced(len(rows), prompts)]


def _grid_row(
    runs: Sequence[Run], galleries: Sequence[Pictures], places: list[int], agreed: bool, longest: int
) -> GridRow:
    shown = [
        Figure(*picture_uri(gallery.systems[system][place], longest), label=f"{system_name(system)}: {run.name}")
        for system in SYSTEMS
        for run, gallery, place in zip(runs, galleries, places, strict=True)
        if system in gallery.systems
    ]
    real = next((gallery.systems["real"][place] for gallery, place in _with_real(galleries, places)), None)
    if agreed and real is not None:  # a prompt that two runs have in other places need not be of the same picture
        shown.append(Figure(*picture_uri(real, longest), label=system_name("real")))
    seeds = [str(gallery.seeds[place]) for gallery, place in zip(galleries, places, strict=True)]
    return GridRow(galleries[0].prompts[places[0]], ", ".join(dict.fromkeys(seeds)), shown)


def _with_real(galleries: Sequence[Pictures], places: list[int]) -> list[tuple[Pictures, int]]:
    return [pair for pair in zip(galleries, places, strict=True) if "real" in pair[0].systems]


def overlaid_curves(runs: Sequence[Run]) -> tuple[list[CurveGroup], str]:
    """The curves of fits that at least two runs have and that differ; in words, which stages are not shown and why."""
    groups: list[CurveGroup] = []
    same, alone = [], []
    for stage in COMPARED_STAGES:
        there = [run for run in runs if stage in run.facts.directories]
        files = {run.name: run.facts.directories[stage] / "curves.jsonl" for run in there}
        contents = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
        if len(contents) == 1:
            alone.append(f"{stage} (only of {next(iter(contents))})")
        elif contents and len(set(contents.values())) == 1:
            same.append(stage)
        elif contents:
            groups += _groups(stage, {name: read_curves(files[name]) for name in contents}, [run.name for run in runs])
    said = [f"the same in every run that has them: {', '.join(same)}"] if same else []
    said += [f"not to be compared: {', '.join(alone)}"] if alone else []
    return groups, f"Not drawn: {'; '.join(said)}." if said else ""


def _groups(stage: str, curves: dict[str, list[Curve]], runs: Sequence[str]) -> list[CurveGroup]:
    """A group for each fit of a stage."""
    by_fit: dict[str, dict[str, dict[str, Curve]]] = {}
    for run, found in curves.items():
        for curve in found:
            by_fit.setdefault(curve.fit, {}).setdefault(curve.name, {})[run] = curve
    return [
        CurveGroup(
            fit if fit.startswith(stage) else f"{stage}: {fit}".removesuffix(": "),
            [_overlay(by_run, runs) for by_run in list(names.values())[:MOST_PANELS]],
        )
        for fit, names in by_fit.items()
    ]


def _overlay(curves: dict[str, Curve], runs: Sequence[str]) -> Figure:
    """One logged value of all runs: held out in full colour, train behind it."""
    name = next(iter(curves.values())).name
    with mpl.rc_context(STYLE):
        plot = Plot(figsize=(3.3, 2.2))
        axes = plot.subplots(gridspec_kw={"left": 0.17, "right": 0.97, "top": 0.89, "bottom": 0.2})
        said, values = [], []
        for run, curve in curves.items():
            colour = COLOURS[runs.index(run)]
            main = "val" if "val" in curve.lines else next(iter(curve.lines))
            for split, line in curve.lines.items():
                steps, heights = np.array(line).T
                values.append(heights)
                look = {"linewidth": 1.6} if split == main else {"linewidth": 1.0, "alpha": 0.35}
                axes.plot(steps, heights, color=colour, zorder=3 if split == main else 2, **look)
            said.append(f"{run}: {main or 'value'} {curve.lines[main][-1][1]:.4g} at step {curve.lines[main][-1][0]}")
        lows = np.concatenate(values)
        if lows.min() > 0 and lows.max() / lows.min() > 30:
            axes.set_yscale("log")
        axes.set_title(name.replace("_", " "), parse_math=False)
        axes.set_xlabel("step")
        return plot_figure(plot, f"{name}; {'; '.join(said)}")
