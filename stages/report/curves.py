"""Training curves as small multiples: one small plot per logged value, training and validation in one."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Plot

from stages.report.pictures import Figure, plot_figure

MOST_PANELS = 12
LEFT_OUT = ("lr", "epoch")
COLOURS = {"train": "#8c8c8c", "val": "#D55E00", "": "#0072B2"}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
}


@dataclass
class Curve:
    """One logged value of one fit: steps and values by split."""

    fit: str
    name: str
    lines: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def read_curves(path: Path) -> list[Curve]:
    """The curves in a `curves.jsonl`, losses and validated values first; lines that are not JSON are skipped."""
    curves: dict[tuple[str, str], Curve] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        if not isinstance(values, dict) or not isinstance(values.get("step"), int):
            continue
        fit, step = str(values.get("fit", "")), values["step"]
        for key, value in _numbers(values):
            split, _, name = key.rpartition("/")
            curve = curves.setdefault((fit, name), Curve(fit, name))
            curve.lines.setdefault(split, []).append((step, value))
    return sorted(curves.values(), key=lambda curve: (curve.name != "loss", "val" not in curve.lines))


def plot_curves(curves: list[Curve]) -> list[Figure]:
    """One small plot per curve, at most twelve, as embedded PNG."""
    return [_plot(curve) for curve in curves[:MOST_PANELS]]


def _numbers(values: dict[str, Any]) -> Iterable[tuple[str, float]]:
    for key, value in values.items():
        name = key.rpartition("/")[2]
        number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        if key not in ("fit", "step") and number and not name.startswith(LEFT_OUT):
            yield key, float(value)


def _plot(curve: Curve) -> Figure:
    with mpl.rc_context(STYLE):
        plot = Plot(figsize=(3.3, 2.2))  # margins by hand: a third of the time that a computed layout takes
        axes = plot.subplots(gridspec_kw={"left": 0.17, "right": 0.97, "top": 0.89, "bottom": 0.2})
        for split, line in curve.lines.items():
            steps, values = np.array(line).T
            marker = {"marker": "o", "markersize": 3} if len(line) <= 40 else {}
            axes.plot(steps, values, color=COLOURS.get(split, "#0072B2"), linewidth=1.4, label=split or None, **marker)
        lows = [value for line in curve.lines.values() for _, value in line]
        if min(lows) > 0 and max(lows) / min(lows) > 30:
            axes.set_yscale("log")
        axes.set_title(curve.name.replace("_", " "))
        axes.set_xlabel("step")
        if len(curve.lines) > 1:
            axes.legend(fontsize=8)
        last = ", ".join(
            f"{split or 'value'} {line[-1][1]:.4g} at step {line[-1][0]}" for split, line in curve.lines.items()
        )
        return plot_figure(plot, f"{curve.name}: {last}")
