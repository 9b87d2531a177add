"""How far two sets of pictures are apart, by features of each picture: distances of distributions, fidelity, coverage.

A set is (n,P) numbers: one row for each picture.
"""

from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

from stages.metrics.bootstrap import Resampling, normal_interval, percentile_interval, resampled_pairs
from stages.metrics.metric import Interval

NEIGHBOURS = 3
"""k of improved precision and recall, as its authors have it."""
FRECHET_REPEATS = 100
"""Resamples behind the interval of a Fréchet distance, which needs but their standard deviation."""


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), from 0 up, of two sets (n,P) and (m,P) (arXiv:1706.08500, eq. 6).

    With A1, A2 the deviations from the mean over sqrt(n - 1), C = A^T A, the last trace is the sum of the singular
    values of A1 A2^T: no root of a matrix is taken, and covariances without full rank (n <= P) are no special case.
    It is biased: the fewer samples, the larger (arXiv:1911.07023).

    Raises:
        ValueError: a set has fewer than two samples.
    """
    left, right = features.astype(np.float64), reference.astype(np.float64)
    if min(len(left), len(right)) < 2:
        raise ValueError(f"a Fréchet distance needs two samples of each set, got {len(left)} and {len(right)}")
    apart = ((left.mean(axis=0) - right.mean(axis=0)) ** 2).sum()
    left, right = _covariance_root(left), _covariance_root(right)
    shared = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    return max(0.0, float(apart + (left**2).sum() + (right**2).sum() - 2 * shared))


def frechet_interval(value: float, features: np.ndarray, reference: np.ndarray, resampling: Resampling) -> Interval:
    """95 % interval of a Fréchet distance, both sets resampled; of its spread only, the bias is not taken off."""

    def distances(drawn: np.ndarray, drawn_reference: np.ndarray) -> np.ndarray:
        pairs = zip(drawn, drawn_reference, strict=True)
        return np.array([frechet_distance(_repeat(features, a), _repeat(reference, b)) for a, b in pairs])

    repeats = resampling._replace(repeats=min(FRECHET_REPEATS, resampling.repeats))
    return normal_interval(value, resampled_pairs(distances, len(features), len(reference), repeats))


def kernel_distance(features: np.ndarray, reference: np.ndarray, gamma: float) -> float:
    """Unbiased squared MMD of two sets (n,P) and (m,P) with the kernel (gamma x.y + 1)^3 (arXiv:1801.01401, eq. 4).

    0 on average for two sets of one distribution, so that it may be below 0.

    Args:
        gamma: 1/P in KID; 1 for features of unit norm, whose products are cosines.
    """
    once = np.ones((1, len(features))), np.ones((1, len(reference)))
    return float(_kernel_distances(*once, *_kernels(features, reference, gamma))[0])


def kernel_interval(
    features: np.ndarray, reference: np.ndarray, gamma: float, resampling: Resampling
) -> Interval | None:
    """Bootstrap 95 % interval of `kernel_distance`, both sets resampled; no sample is compared with itself."""
    inside, beside, between = _kernels(features, reference, gamma)
    combine = partial(_kernel_distances, inside=inside, beside=beside, between=between)
    return percentile_interval(resampled_pairs(combine, len(features), len(reference), resampling))


def inside_manifold(features: np.ndarray, support: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Which samples (n,P) lie in the manifold of a set (m,P): (n,) bool (arXiv:1904.06991, eq. 1).

    The manifold is the union of a ball around each sample of the set, as far as its `neighbours`-th nearest other. The
    mean over generated pictures in that of real ones is improved precision; over real in that of generated, recall.

    Raises:
        ValueError: the set has no more samples than `neighbours`.
    """
    if len(support) <= neighbours:
        raise ValueError(f"a manifold by {neighbours} neighbours needs more samples than that, got {len(support)}")
    among = cdist(support, support)
    np.fill_diagonal(among, np.inf)  # not its own neighbour
    radii = np.partition(among, neighbours - 1, axis=1)[:, neighbours - 1]
    found: np.ndarray = (cdist(features, support) <= radii).any(axis=1)
    return found


def _covariance_root(samples: np.ndarray) -> np.ndarray:
    """A with A^T A the covariance of samples (n,P): (min(n,P),P)."""
    deviations = (samples - samples.mean(axis=0)) / np.sqrt(len(samples) - 1)
    if len(deviations) <= deviations.shape[1]:
        return deviations
    return np.asarray(np.linalg.qr(deviations, mode="r"))


def _repeat(samples: np.ndarray, times: np.ndarray) -> np.ndarray:
    return np.repeat(samples, times, axis=0)


def _kernels(features: np.ndarray, reference: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernel within either set and between them: (n,n), (m,m), (n,m)."""
    left, right = features.astype(np.float64), reference.astype(np.float64)
    inside, beside, between = ((gamma * a @ b.T + 1) ** 3 for a, b in ((left, left), (right, right), (left, right)))
    return inside, beside, between


def _kernel_distances(
    drawn: np.ndarray, drawn_reference: np.ndarray, inside: np.ndarray, beside: np.ndarray, between: np.ndarray
) -> np.ndarray:
    """Squared MMD (r,) of r resamples by how often each sample is drawn, (r,n) and (r,m)."""
    across = ((drawn @ between) * drawn_reference).sum(axis=1) / (drawn.sum(axis=1) * drawn_reference.sum(axis=1))
    found: np.ndarray = _mean_of_others(drawn, inside) + _mean_of_others(drawn_reference, beside) - 2 * across
    return found


def _mean_of_others(drawn: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Mean kernel (r,) over pairs of different samples, weighed by how often both are drawn, (r,n).

    Not a number for a resample of one sample alone, which has no pair: such are left out of intervals.
    """
    squares = drawn.astype(np.float64) ** 2
    pairs = drawn.sum(axis=1).astype(np.float64) ** 2 - squares.sum(axis=1)
    with np.errstate(invalid="ignore"):
        means: np.ndarray = (((drawn @ kernel) * drawn).sum(axis=1) - squares @ np.diag(kernel)) / pairs
    return means
