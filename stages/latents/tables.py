"""The CSV files: every coordinate, every view's figures, and the codes' counts."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.latents.colourings import Colouring
from stages.latents.counting import Together
from stages.latents.points import LatentPoints
from stages.latents.projection import chance_agreement, label_agreement
from stages.latents.views import View


def write_coordinates(path: Path, points: LatentPoints, views: Sequence[View], colourings: Sequence[Colouring]) -> None:
    """One line per picture: its record, its label in every colouring, and its coordinates in every view."""
    columns = {name: values for view in views for name, values in coordinate_columns(view).items()}
    labels = {f"label_{colouring.name}": colouring.labels for colouring in colourings}
    head = ["record_id", "file_name", "caption", *labels, *columns]
    lines = (
        [record.id, record.file_name, record.caption]
        + [str(mine[row]) for mine in labels.values()]
        + [f"{values[row]:.6g}" for values in columns.values()]
        for row, record in enumerate(points.records)
    )
    _write(path, head, lines)


def coordinate_columns(view: View) -> dict[str, np.ndarray]:
    """The coordinates (N,) of a view by column: `pca_top_1`; of the joint level of pictures and of captions."""
    if view.level != "joint":
        return {f"{view.name}_{axis + 1}": view.coordinates[:, axis] for axis in range(2)}
    halves = zip(("picture", "caption"), np.split(view.coordinates, 2), strict=True)
    return {f"{view.name}_{kind}_{axis + 1}": half[:, axis] for kind, half in halves for axis in range(2)}


def write_views(path: Path, views: Sequence[View], colourings: Sequence[Colouring], seed: int) -> None:
    """One line per view and colouring, with everything by which the plot can be judged."""
    head = ["view", "level", "perplexity", "seed", "points", "neighbours", "trustworthiness", "knn_agreement"]
    head += ["knn_agreement_chance", "colouring", "labelled", "label_agreement", "label_agreement_chance"]
    _write(path, head, (line for view in views for line in _view_lines(view, colourings, seed)))


def _view_lines(view: View, colourings: Sequence[Colouring], seed: int) -> Iterable[list[Any]]:
    about = [view.name, view.level, "" if view.perplexity is None else f"{view.perplexity:.6g}", seed]
    about += [len(view.coordinates), view.neighbours, f"{view.trustworthiness:.6g}", f"{view.knn_agreement:.6g}"]
    about += [f"{view.chance_agreement:.6g}"]
    for colouring in colourings:
        known = colouring.known
        shown, labels = view.coordinates[: len(known)][known], colouring.labels[known]
        if len(labels) < 2:
            continue
        agreement = label_agreement(shown, labels, view.neighbours)
        yield [*about, colouring.name, len(labels), f"{agreement:.6g}", f"{chance_agreement(labels):.6g}"]


def write_explained_variance(path: Path, levels: dict[str, np.ndarray]) -> None:
    """One line per level and component: its share of the variance, alone and cumulative."""
    lines = (
        [level, number + 1, f"{share:.6g}", f"{total:.6g}"]
        for level, explained in levels.items()
        for number, (share, total) in enumerate(zip(explained, np.cumsum(explained), strict=True))
    )
    _write(path, ["level", "component", "share", "cumulative"], lines)


def write_code_usage(path: Path, counts: dict[str, np.ndarray]) -> None:
    """One line per code: how often it occurs on each level."""
    lines = (
        [code, *row] for code, row in enumerate(zip(*(values.tolist() for values in counts.values()), strict=True))
    )
    _write(path, ["code", *counts], lines)


def write_co_occurrences(path: Path, together: Together) -> None:
    """One line per pair of frequent codes that occurs: top code, bottom code, how often."""
    row, column = np.nonzero(together.counts)
    found = (together.top[row], together.bottom[column], together.counts[row, column])
    _write(path, ["top_code", "bottom_code", "count"], sorted(zip(*(part.tolist() for part in found), strict=True)))


def _write(path: Path, head: Sequence[str], lines: Iterable[Iterable[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(head)
        writer.writerows(lines)
