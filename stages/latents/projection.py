"""Two-dimensional views of a cloud of vectors, and how far each view can be trusted."""

from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.neighbors import NearestNeighbors

FEWEST_TSNE_POINTS = 4


class PcaView(NamedTuple):
    """Principal components of a cloud."""

    coordinates: np.ndarray
    """(N,2): first two components, in the units of the cloud."""
    explained: np.ndarray
    """(C,): share of the variance per component, in [0,1], falling, sum 1; all 0 for a cloud without extent."""


class TsneView(NamedTuple):
    """A t-SNE layout."""

    coordinates: np.ndarray
    """(N,2), without units."""
    perplexity: float
    """The perplexity it was laid out with, after clipping."""


def pca(points: np.ndarray) -> PcaView:
    """Principal component analysis of a cloud (N,D), every component kept.

    Raises:
        ValueError: there are fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"PCA needs at least 2 points, got {len(points)}")
    cloud = points.astype(np.float64)
    if not np.ptp(cloud, axis=0).any():  # every point the same: nothing varies, and 0/0 is no share
        return PcaView(np.zeros((len(cloud), 2)), np.zeros(min(cloud.shape)))
    model = PCA(svd_solver="full").fit(cloud)
    coordinates = model.transform(cloud)[:, :2]
    missing = 2 - coordinates.shape[1]
    return PcaView(np.pad(coordinates, ((0, 0), (0, missing))), model.explained_variance_ratio_)


def clip_perplexity(perplexity: float, points: int) -> float:
    """The perplexity t-SNE can keep with so few points: at most a third of the others, at least 1."""
    return max(1.0, min(perplexity, (points - 1) / 3))


def tsne(points: np.ndarray, perplexity: float, seed: int) -> TsneView:
    """t-SNE (van der Maaten & Hinton 2008) of a cloud (N,D) from a PCA start, which keeps the large-scale layout.

    Args:
        perplexity: effective number of neighbours; clipped by `clip_perplexity`.

    Raises:
        ValueError: there are fewer than four points.
    """
    if len(points) < FEWEST_TSNE_POINTS:
        raise ValueError(f"t-SNE needs at least {FEWEST_TSNE_POINTS} points, got {len(points)}")
    start = pca(points).coordinates
    spread = start[:, 0].std()
    if spread == 0:
        start = np.random.default_rng(seed).standard_normal(start.shape)
        spread = 1.0
    used = clip_perplexity(perplexity, len(points))
    model = TSNE(
        n_components=2,
        perplexity=used,
        init=(1e-4 * start / spread).astype(np.float32),
        random_state=seed % 2**32,
        method="barnes_hut" if len(points) > 50 else "exact",
    )
    return TsneView(model.fit_transform(points.astype(np.float32)), used)


def trustworthiness(points: np.ndarray, view: np.ndarray, neighbours: int) -> float:
    """How few false neighbours a view (N,2) of a cloud (N,D) shows (Venna & Kaski 2001), in [0,1], 1 = none.

    `neighbours` is clipped by `clip_neighbours`. Of two points none can be false.
    """
    if len(points) < 3:
        return 1.0
    return float(sklearn_trustworthiness(points, view, n_neighbors=clip_neighbours(neighbours, len(points))))


def clip_neighbours(neighbours: int, points: int) -> int:
    """The most neighbours of so many points, at least 1, for which trustworthiness is defined: below half of them."""
    return max(1, min(neighbours, (points - 1) // 2))


def nearest(points: np.ndarray, neighbours: int) -> np.ndarray:
    """The nearest other points of each, int64 (N,k), nearest first; k is clipped to N - 1."""
    usable = min(neighbours, len(points) - 1)
    found: np.ndarray = NearestNeighbors(n_neighbors=usable).fit(points).kneighbors(return_distance=False)
    return found


def knn_agreement(points: np.ndarray, view: np.ndarray, neighbours: int) -> float:
    """Mean share of a point's k nearest neighbours in the cloud (N,D) that are among its k nearest in the view (N,2)
    too, in [0,1]; a view at random has k/(N-1)."""
    true, shown = nearest(points, neighbours), nearest(view, neighbours)
    return float((true[:, :, None] == shown[:, None, :]).any(2).mean())


def label_agreement(points: np.ndarray, labels: np.ndarray, neighbours: int) -> float:
    """Mean share of a point's nearest neighbours (itself left out) that have its label, in [0,1].

    Args:
        points: (N,D).
        labels: (N,), of any kind that compares.
        neighbours: k, clipped to N - 1.
    """
    found = nearest(points, neighbours)
    return float((labels[found] == labels[:, None]).mean())


def chance_agreement(labels: np.ndarray) -> float:
    """The label agreement expected when neighbours are drawn at random from the others, in [0,1]."""
    counts = np.unique(labels, return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))
