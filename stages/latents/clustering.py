"""k-means clusters of pooled latents, as many as separate best."""

from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score


class Clusters(NamedTuple):
    """A clustering and how well it separates."""

    members: np.ndarray
    """(N,) int64 in [0,number), the largest cluster first."""
    number: int
    silhouettes: dict[int, float]
    """Number of clusters -> mean silhouette (Rousseeuw 1987) in [-1,1], of every number that could be tried."""


def find_clusters(points: np.ndarray, candidates: tuple[int, ...], seed: int) -> Clusters:
    """k-means of a cloud (N,D) with the number of clusters, of those given, that has the highest mean silhouette.

    A silhouette needs more points than clusters, and as many different points as clusters; where no candidate has
    that, everything is one cluster.
    """
    different = len(np.unique(points, axis=0))
    usable = [count for count in sorted(set(candidates)) if count <= different and count < len(points)]
    found: dict[int, np.ndarray] = {}
    silhouettes: dict[int, float] = {}
    for count in usable:
        model = KMeans(n_clusters=count, n_init=4, random_state=seed % 2**32)
        found[count] = model.fit_predict(points)
        silhouettes[count] = float(silhouette_score(points, found[count]))
    if not found:
        return Clusters(np.zeros(len(points), dtype=np.int64), 1, {})
    best = max(usable, key=lambda count: silhouettes[count])
    sizes = np.bincount(found[best], minlength=best)
    place = np.argsort(np.argsort(-sizes, kind="stable"))
    return Clusters(place[found[best]], best, silhouettes)
