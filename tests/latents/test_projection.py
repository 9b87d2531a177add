"""Projections and the measures by which they are judged."""

import numpy as np
import pytest

from stages.latents.projection import (
    chance_agreement,
    clip_perplexity,
    knn_agreement,
    label_agreement,
    nearest,
    pca,
    trustworthiness,
    tsne,
)


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Four far-apart clusters of 20 points in 8 dimensions, and the cluster of each."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 20)
    centres = 20 * np.eye(4, 8)
    return (centres[labels] + rng.standard_normal((80, 8))).astype(np.float32), labels


def test_pca_shares_fall_and_sum_to_one(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    view = pca(clusters[0])
    assert view.coordinates.shape == (80, 2)
    assert view.explained.sum() == pytest.approx(1.0)
    assert (np.diff(view.explained) <= 0).all()


def test_pca_finds_the_direction_of_a_line() -> None:
    along = np.linspace(-1, 1, 30)[:, None] * np.array([[3.0, 4.0, 0.0]])
    view = pca(along)
    assert view.explained[0] == pytest.approx(1.0)
    assert np.abs(view.coordinates[:, 0]).max() == pytest.approx(5.0)  # |(3,4)|
    assert np.abs(view.coordinates[:, 1]).max() < 1e-9


def test_pca_of_points_that_are_all_the_same_and_of_one_dimension() -> None:
    assert pca(np.ones((5, 3))).explained.tolist() == [0.0, 0.0, 0.0]
    assert pca(np.arange(4.0)[:, None]).coordinates.shape == (4, 2)
    with pytest.raises(ValueError, match="at least 2 points, got 1"):
        pca(np.ones((1, 3)))


def test_separated_clusters_are_trustworthy_and_agree(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    points, labels = clusters
    view = tsne(points, perplexity=10, seed=1)
    assert trustworthiness(points, view.coordinates, 5) > 0.9
    assert label_agreement(view.coordinates, labels, 5) > 0.95
    assert label_agreement(points, labels, 5) == 1.0
    assert knn_agreement(points, points, 5) == 1.0
    assert knn_agreement(points, view.coordinates, 5) > 3 * 5 / 79


def test_shuffled_labels_and_shuffled_views_score_low(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    points, labels = clusters
    rng = np.random.default_rng(2)
    assert label_agreement(points, rng.permutation(labels), 5) < 0.45
    assert knn_agreement(points, rng.standard_normal((80, 2)), 5) < 3 * 5 / 79
    assert chance_agreement(labels) == pytest.approx(19 / 79)
    assert trustworthiness(points, rng.permutation(points[:, :2]), 5) < 0.7


def rank(points: np.ndarray) -> np.ndarray:
    """(N,N): the how manieth neighbour j is of i, itself the 0th; by sorting all distances."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    return np.argsort(np.argsort(distances, axis=1), axis=1)


def test_measures_agree_with_their_definitions() -> None:
    rng = np.random.default_rng(4)
    points, labels, k = rng.standard_normal((30, 5)), rng.integers(0, 3, 30), 4
    view, count = points[:, :2], 30
    true, shown = rank(points), rank(view)
    others = ~np.eye(30, dtype=bool)
    false = (shown <= k) & (true > k) & others  # Venna & Kaski 2001, Eq. 1
    penalty = 2 / (count * k * (2 * count - 3 * k - 1)) * (true[false] - k).sum()
    assert trustworthiness(points, view, k) == pytest.approx(1 - penalty)
    kept = ((true <= k) & (shown <= k) & others).sum() / (count * k)
    assert knn_agreement(points, view, k) == pytest.approx(kept)
    same = (labels[:, None] == labels[None])[(true <= k) & others].mean()
    assert label_agreement(points, labels, k) == pytest.approx(same)
    assert nearest(points, 99).shape == (30, 29)


def test_pca_is_the_eigenvalues_of_the_covariance() -> None:
    points = np.random.default_rng(5).standard_normal((40, 6)) @ np.diag([5.0, 3.0, 2.0, 1.0, 0.5, 0.1])
    values = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    np.testing.assert_allclose(pca(points).explained, values / values.sum())


def test_tsne_is_the_same_for_the_same_seed(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    first, again = (tsne(clusters[0], perplexity=10, seed=3).coordinates for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_few_points_clip_the_perplexity() -> None:
    points = np.random.default_rng(0).standard_normal((8, 4))
    view = tsne(points, perplexity=30, seed=0)
    assert view.perplexity == clip_perplexity(30, 8) == pytest.approx(7 / 3)
    assert np.isfinite(view.coordinates).all()
    assert clip_perplexity(30, 1000) == 30
    with pytest.raises(ValueError, match="at least 4 points, got 3"):
        tsne(points[:3], perplexity=30, seed=0)


def test_tsne_of_a_collapsed_code_book_is_finite() -> None:
    assert np.isfinite(tsne(np.ones((12, 4)), perplexity=3, seed=0).coordinates).all()
