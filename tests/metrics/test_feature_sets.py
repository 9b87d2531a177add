import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from stages.metrics import Resampling
from stages.metrics.feature_sets import (
    frechet_distance,
    frechet_interval,
    inside_manifold,
    kernel_distance,
    kernel_interval,
)


def draw(rng: np.random.Generator, count: int, width: int, shift: float = 0.0) -> np.ndarray:
    """Correlated samples (count, width)."""
    found: np.ndarray = rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) / width**0.5 + shift
    return found


def frechet_by_the_formula(features: np.ndarray, reference: np.ndarray) -> float:
    """arXiv:1706.08500, eq. 6, with scipy's root of a matrix."""
    left, right = np.cov(features.T), np.cov(reference.T)
    apart = ((features.mean(0) - reference.mean(0)) ** 2).sum()
    return float(apart + np.trace(left + right - 2 * sqrtm(left @ right).real))


def test_frechet_in_one_dimension_by_hand() -> None:
    # Means 1 and 6, standard deviations sqrt(2) and sqrt(8): 25 + (2 sqrt(2) - sqrt(2))^2
    found = frechet_distance(np.array([[0.0], [2.0]]), np.array([[4.0], [8.0]]))
    assert found == pytest.approx(25 + 2)


@pytest.mark.parametrize(("count", "other", "width"), [(300, 200, 8), (500, 500, 64), (70, 65, 64)])
def test_frechet_is_the_formula_where_covariances_have_full_rank(count: int, other: int, width: int) -> None:
    rng = np.random.default_rng(count)
    features, reference = draw(rng, count, width), draw(rng, other, width, shift=0.1)
    expected = frechet_by_the_formula(features, reference)
    assert frechet_distance(features, reference) == pytest.approx(expected, abs=1e-4)
    assert frechet_distance(reference, features) == pytest.approx(expected, abs=1e-4)


def test_frechet_of_fewer_samples_than_dimensions() -> None:
    rng = np.random.default_rng(0)
    features, reference = draw(rng, 40, 5), draw(rng, 30, 5, shift=0.5)
    rotation = np.linalg.qr(rng.normal(size=(200, 200)))[0][:5]  # 5 dimensions lying askew in 200
    expected = frechet_by_the_formula(features, reference)
    assert frechet_distance(features @ rotation, reference @ rotation) == pytest.approx(expected, abs=1e-8)
    with pytest.raises(ValueError, match="two samples of each set, got 1 and 30"):
        frechet_distance(features[:1], reference)


def test_frechet_of_a_set_and_itself_is_0_and_few_samples_are_far_apart() -> None:
    rng = np.random.default_rng(1)
    features = draw(rng, 400, 32)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    means = [frechet_distance(features[:n], features[200 : 200 + n]) for n in (20, 60, 200)]
    assert means[0] > means[1] > means[2] > 0  # the bias that protocols speak of


def test_frechet_s_interval_is_as_wide_as_the_distance_varies() -> None:
    distances, halves = [], []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        features, reference = rng.normal(size=(150, 3)), rng.normal(loc=0.7, size=(150, 3))
        distances.append(frechet_distance(features, reference))
        low, high = frechet_interval(distances[-1], features, reference, Resampling(1000, trial))
        assert low < distances[-1] < high
        halves.append((high - low) / 2)
    assert np.mean(halves) == pytest.approx(1.96 * np.std(distances), rel=0.25)


def kernel_by_the_formula(features: np.ndarray, reference: np.ndarray, gamma: float) -> float:
    """arXiv:1801.01401, eq. 4, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((gamma * (x * y).sum() + 1) ** 3)

    def within(rows: np.ndarray) -> float:
        pairs = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return float(np.mean(pairs))

    between = np.mean([kernel(x, y) for x in features for y in reference])
    return within(features) + within(reference) - 2 * float(between)


def test_the_kernel_distance_is_the_formula_and_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    rng = np.random.default_rng(3)
    features, reference = draw(rng, 25, 6), draw(rng, 25, 6, shift=0.4)
    assert kernel_distance(features, reference, 1.0) == pytest.approx(kernel_by_the_formula(features, reference, 1.0))
    theirs = poly_mmd(torch.from_numpy(reference), torch.from_numpy(features))
    assert kernel_distance(features, reference, 1 / 6) == pytest.approx(float(theirs), abs=1e-9)
    unequal = kernel_by_the_formula(features[:9], reference, 0.3)
    assert kernel_distance(features[:9], reference, 0.3) == pytest.approx(unequal)


def test_the_kernel_distance_is_0_on_average_and_its_interval_covers_that() -> None:
    found, covered = [], 0
    for trial in range(80):
        rng = np.random.default_rng(trial)
        features, reference = rng.normal(size=(40, 4)), rng.normal(size=(30, 4))
        found.append(kernel_distance(features, reference, 0.25))
        low, high = kernel_interval(features, reference, 0.25, Resampling(200, trial)) or (1.0, 0.0)
        covered += low <= 0 <= high
        assert low <= found[-1] <= high
    assert abs(np.mean(found)) < 2.5 * np.std(found) / 80**0.5 and min(found) < 0 < max(found)
    assert covered >= 72


def test_a_manifold_is_the_balls_to_the_third_nearest_others() -> None:
    line = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]])  # radii 3, 2, 2, 3, 9 for k = 3
    places = np.array([[-3.0], [-3.1], [6.0], [0.5], [19.0], [19.1]])
    assert inside_manifold(places, line).tolist() == [True, False, True, True, True, False]
    assert inside_manifold(np.array([[4.1]]), line[:4], neighbours=1).tolist() == [False]  # radius 1
    assert inside_manifold(np.array([[4.0]]), line[:4], neighbours=1).tolist() == [True]
    with pytest.raises(ValueError, match="more samples than that, got 3"):
        inside_manifold(line, line[:3])


def test_a_manifold_is_that_of_an_independent_search() -> None:
    rng = np.random.default_rng(4)
    support, features = draw(rng, 120, 5), draw(rng, 90, 5, shift=0.6)
    radii = NearestNeighbors(n_neighbors=4).fit(support).kneighbors(support)[0][:, 3]  # the first is the sample itself
    distances = np.sqrt(((features[:, None] - support[None]) ** 2).sum(-1))
    assert np.array_equal(inside_manifold(features, support), (distances <= radii).any(axis=1))


def test_fidelity_and_coverage_are_apart() -> None:
    rng = np.random.default_rng(5)
    real = np.concatenate([rng.normal(-5, 1, (100, 2)), rng.normal(5, 1, (100, 2))])
    one_kind = rng.normal(-5, 0.8, (200, 2))  # good pictures, all of one kind
    assert inside_manifold(one_kind, real).mean() > 0.95 and inside_manifold(real, one_kind).mean() < 0.55
    noise = rng.uniform(-15, 15, (200, 2))  # everything, and much besides
    assert inside_manifold(noise, real).mean() < 0.3 and inside_manifold(real, noise).mean() > 0.8
    repeated = np.repeat(real[:1], 10, axis=0)  # equal pictures: balls of no size
    assert inside_manifold(real, repeated).tolist() == [True] + [False] * 199
