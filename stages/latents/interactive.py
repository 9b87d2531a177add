"""The interactive page: every view and colouring in one HTML file that needs nothing else, with plotly inlined."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from stages.data import PreparedSet
from stages.latents.colourings import ABSENT, Colouring
from stages.latents.points import LatentPoints
from stages.latents.scatter import judgement, same_label
from stages.latents.style import ABSENT_COLOUR, COLOURS
from stages.latents.views import LEVEL_NAMES, View

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star", "triangle-left",
           "triangle-right", "hexagon", "pentagon")  # fmt: skip
"""plotly's names for the markers of `style.MARKERS`."""
THUMBNAIL_SIDE = 64


def write_page(
    path: Path,
    dataset: PreparedSet,
    points: LatentPoints,
    views: Sequence[View],
    colourings: Sequence[Colouring],
    *,
    run: str,
    split: str,
    found: str,
    seed: int,
    most_thumbnails: int,
) -> None:
    """Writes the page.

    Args:
        found: how often a caption's own picture is among those nearest to it, in words.
        most_thumbnails: most pictures embedded; further points, by a seeded choice, have a caption alone.
    """
    from plotly.offline import get_plotlyjs

    thumbnails = embed_thumbnails(dataset, points, most_thumbnails, seed)
    embedded = sum(thumbnail is not None for thumbnail in thumbnails)
    environment = Environment(loader=PackageLoader("stages.latents", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("interactive.html.j2").render(
        run=run,
        split=split,
        found=found,
        count=len(points),
        drawn=points.drawn,
        embedded=embedded,
        plotly=get_plotlyjs(),
        data=page_data(points, views, colourings, thumbnails, seed),
    )
    path.write_text(page, encoding="utf-8")


def page_data(
    points: LatentPoints,
    views: Sequence[View],
    colourings: Sequence[Colouring],
    thumbnails: Sequence[str | None],
    seed: int,
) -> dict[str, Any]:
    """Everything that the page's script draws from, as JSON can hold it."""
    return {
        "captions": [record.caption for record in points.records],
        "files": [record.file_name for record in points.records],
        "thumbnails": list(thumbnails),
        "levels": [[level, LEVEL_NAMES[level]] for level in dict.fromkeys(view.level for view in views)],
        "views": [_view(view, colourings, seed) for view in views],
        "colourings": [_colouring(colouring) for colouring in colourings],
        "colours": list(COLOURS),
        "symbols": list(SYMBOLS),
        "absent": {"label": ABSENT, "colour": ABSENT_COLOUR},
    }


def embed_thumbnails(dataset: PreparedSet, points: LatentPoints, most: int, seed: int) -> list[str | None]:
    """A small JPEG as data URI for each of N points, or None for those beyond `most`."""
    shown = np.zeros(len(points), dtype=bool)
    shown[np.random.default_rng(seed).permutation(len(points))[:most]] = True
    return [
        _thumbnail(dataset.images[record.image]) if wanted else None
        for record, wanted in zip(points.records, shown, strict=True)
    ]


def _thumbnail(picture: np.ndarray) -> str:
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _view(view: View, colourings: Sequence[Colouring], seed: int) -> dict[str, Any]:
    return {
        "level": view.level,
        "method": view.method,
        "x": [float(f"{value:.5g}") for value in view.coordinates[:, 0]],
        "y": [float(f"{value:.5g}") for value in view.coordinates[:, 1]],
        "axes": list(view.axes),
        "judgement": judgement(view, seed),
        "same_label": [same_label(view, colouring) for colouring in colourings],
    }


def _colouring(colouring: Colouring) -> dict[str, Any]:
    """Labels as places in the order, -1 where a point has none."""
    place = {label: number for number, label in enumerate(colouring.order)}
    return {
        "name": colouring.name,
        "source": colouring.source,
        "order": colouring.order,
        "labels": [place.get(label, -1) for label in colouring.labels.tolist()],
    }
