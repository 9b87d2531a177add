import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from stages.blip.metrics import (
    best_threshold,
    bootstrap_interval,
    classification,
    recall_at,
    retrieval_ranks,
    unrelated_partners,
)


def test_classification_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    related, unrelated = rng.normal(1, 1, 80), rng.normal(0, 1, 60)
    ours = classification(related, unrelated, 0.4)
    truth, called = np.repeat([1, 0], [80, 60]), np.concatenate([related, unrelated]) > 0.4
    precision, recall, f1, _ = precision_recall_fscore_support(truth, called, average="binary")
    assert tuple(ours) == pytest.approx((accuracy_score(truth, called), precision, recall, f1))


def test_precision_is_one_by_construction_without_unrelated_pairs() -> None:
    assert tuple(classification(np.array([0.9, 0.6, 0.2, 0.8]), np.zeros(0), 0.5)) == (0.75, 1.0, 0.75, 6 / 7)


def test_the_best_threshold_is_no_worse_than_any_other() -> None:
    rng = np.random.default_rng(1)
    related, unrelated = rng.normal(1, 1, 50), rng.normal(0, 1, 50)
    best = classification(related, unrelated, best_threshold(related, unrelated)).f1
    assert best == max(classification(related, unrelated, t).f1 for t in np.linspace(-3, 4, 2000))
    assert 0.2 < best_threshold(np.array([0.8, 0.9]), np.array([0.1, 0.2])) < 0.8


def test_ranks_count_pictures_once_and_ties_against_the_caption() -> None:
    image = np.eye(4)[[0, 0, 1, 2]]
    index = np.array([7, 7, 8, 9])
    text = np.array([[1.0, 0, 0, 0], [0.1, 0.9, 0, 0], [0, 1.0, 0.5, 0], [0.3, 0.3, 0.3, 0]])
    assert retrieval_ranks(text, image, index).tolist() == [1, 2, 1, 3]
    assert recall_at(np.array([1, 2, 1, 3]), 1) == 0.5


def test_partners_share_neither_picture_nor_caption() -> None:
    index = np.array([0, 0, 1, 2, 3, 4])
    captions = ["a", "b", "c", "C", "d", "a"]
    for seed in range(50):
        partners = unrelated_partners(index, captions, np.random.default_rng(seed))
        for i, j in enumerate(partners):
            assert index[i] != index[j] and captions[i].lower() != captions[j].lower()


def test_a_pair_to_which_all_is_related_has_no_partner() -> None:
    assert unrelated_partners(np.array([0, 0]), ["a", "b"], np.random.default_rng(0)).tolist() == [-1, -1]


def test_the_bootstrap_interval_covers_the_mean_as_theory_says() -> None:
    sample = np.random.default_rng(0).normal(2, 1, 400)
    low, high = bootstrap_interval(lambda rows: float(sample[rows].mean()), 400, seed=0)
    assert high - low == pytest.approx(2 * 1.96 * sample.std() / 20, rel=0.15)
    assert low < sample.mean() < high
