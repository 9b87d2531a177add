"""Every two-dimensional view of the points, each with the figures by which it can be judged."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.config.latents import LatentsConfig, write_perplexity
from stages.latents.points import LatentPoints
from stages.latents.projection import (
    FEWEST_TSNE_POINTS,
    clip_neighbours,
    clip_perplexity,
    knn_agreement,
    pca,
    trustworthiness,
    tsne,
)

LEVEL_NAMES = {
    "top": "top level",
    "bottom": "bottom level",
    "joint": "pictures (top level) and captions together",
}


@dataclass(frozen=True)
class View:
    """A cloud laid out in the plane."""

    level: str
    """top, bottom or joint."""
    perplexity: float | None
    """Of t-SNE, after clipping; None for PCA."""
    asked_perplexity: float | None
    """As configured."""
    coordinates: np.ndarray
    """(N,2); of the joint level (2N,2), pictures, then captions."""
    trustworthiness: float
    """In [0,1], at `neighbours`."""
    knn_agreement: float
    """In [0,1], at `neighbours`."""
    neighbours: int
    """k of both, as `clip_neighbours` leaves it."""
    axes: tuple[str, str]
    """What the two axes are."""

    @property
    def name(self) -> str:
        """For columns and files: `pca_top`, `tsne_top_p30`."""
        if self.perplexity is None:
            return f"pca_{self.level}"
        return f"tsne_{self.level}_p{write_perplexity(self.perplexity)}"

    @property
    def method(self) -> str:
        """PCA or t-SNE with its perplexity."""
        if self.perplexity is None or self.asked_perplexity is None:
            return "PCA"
        clipped = f" (clipped from {self.asked_perplexity:g})" if self.perplexity < self.asked_perplexity else ""
        return f"t-SNE, perplexity {write_perplexity(self.perplexity)}{clipped}"

    @property
    def chance_agreement(self) -> float:
        """The kNN agreement of a view at random."""
        return self.neighbours / (len(self.coordinates) - 1)


class Views(NamedTuple):
    """All views, and what the principal components hold."""

    views: list[View]
    explained: dict[str, np.ndarray]
    """Level (top, bottom, caption) -> share of the variance per component, (C,)."""

    def of(self, level: str) -> list[View]:
        """The t-SNE views of a level, the one to show large first."""
        return [view for view in self.views if view.level == level and view.perplexity is not None]

    def pca(self, level: str) -> View:
        """The PCA view of a level."""
        return next(view for view in self.views if view.level == level and view.perplexity is None)


def make_views(section: LatentsConfig, points: LatentPoints, seed: int) -> Views:
    """PCA of every level, and t-SNE of every level at every perplexity that so few points can keep apart."""
    clouds = {"top": points.top, "bottom": points.bottom, "joint": np.concatenate([points.top, points.text])}
    views, explained = [], {}
    for level, cloud in clouds.items():
        components = pca(cloud)
        if level != "joint":
            explained[level] = components.explained
        views.append(_judge(section, level, cloud, components.coordinates, axes=_pca_axes(components.explained)))
        if len(points) < FEWEST_TSNE_POINTS:
            continue
        for asked in _different(section.perplexities, len(cloud)):
            laid = tsne(cloud, asked, seed)
            views.append(_judge(section, level, cloud, laid.coordinates, laid.perplexity, asked))
    return Views(views, explained | {"caption": pca(points.text).explained})


def _different(perplexities: tuple[float, ...], points: int) -> list[float]:
    """The perplexities as configured, each that is clipped to what has the same name as one before it left out."""
    first: dict[str, float] = {}
    for asked in perplexities:
        first.setdefault(write_perplexity(clip_perplexity(asked, points)), asked)
    return list(first.values())


def _judge(
    section: LatentsConfig,
    level: str,
    cloud: np.ndarray,
    coordinates: np.ndarray,
    perplexity: float | None = None,
    asked: float | None = None,
    axes: tuple[str, str] = ("t-SNE 1", "t-SNE 2"),
) -> View:
    k = clip_neighbours(section.neighbours, len(cloud))
    return View(
        level,
        perplexity,
        asked,
        coordinates,
        trustworthiness(cloud, coordinates, k),
        knn_agreement(cloud, coordinates, k),
        k,
        axes,
    )


def _pca_axes(explained: np.ndarray) -> tuple[str, str]:
    shares = [*(100 * explained[:2]), 0.0, 0.0]
    first, second = (f"component {number + 1} ({shares[number]:.2g} % of the variance)" for number in range(2))
    return first, second
