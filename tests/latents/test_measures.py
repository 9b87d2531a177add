"""Usage, perplexity and retrieval, against values worked out by hand."""

import numpy as np
import pytest

from stages.latents.measures import code_counts, code_usage, codes_perplexity, modality_mixing, retrieval_at


def test_usage_and_perplexity() -> None:
    counts = code_counts(np.array([[0, 0], [1, 1]]), 4)
    assert counts.tolist() == [2, 2, 0, 0]
    assert code_usage(counts) == 0.5
    assert codes_perplexity(counts) == pytest.approx(2.0)
    assert codes_perplexity(np.array([7, 0])) == pytest.approx(1.0)
    assert codes_perplexity(np.zeros(3, dtype=np.int64)) == 0.0


def test_retrieval_finds_its_own_and_nothing_else() -> None:
    gallery = np.eye(20)
    assert retrieval_at(1, 3 * gallery, gallery) == 1.0
    assert retrieval_at(1, np.roll(gallery, 1, axis=0), gallery) == pytest.approx(0.0)


def test_retrieval_from_a_collapsed_code_book_is_exactly_chance() -> None:
    assert retrieval_at(10, np.ones((40, 3)), np.ones((40, 3))) == pytest.approx(10 / 40)
    assert retrieval_at(10, np.zeros((40, 3)), np.ones((40, 3))) == pytest.approx(10 / 40)


def test_modality_mixing_tells_apart_from_mixed() -> None:
    rng = np.random.default_rng(0)
    cloud = rng.standard_normal((100, 2))
    assert modality_mixing(cloud, cloud + 50, 5) == 0.0
    assert 0.4 < modality_mixing(cloud, rng.standard_normal((100, 2)), 5) < 0.6
