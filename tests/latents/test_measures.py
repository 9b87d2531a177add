"""Usage, perplexity and retrieval, against values worked out by hand."""

import numpy as np
import pytest

from stages.latents.measures import (
    code_counts,
    code_pairs,
    code_usage,
    codes_perplexity,
    modality_mixing,
    mutual_information,
    position_perplexities,
    retrieval_at,
    retrieval_ranks,
)


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


def test_ranks_say_how_many_are_nearer() -> None:
    rng = np.random.default_rng(1)
    queries, gallery = rng.standard_normal((30, 5)), rng.standard_normal((30, 5))
    nearer, equal = retrieval_ranks(queries, gallery)
    for row, query in enumerate(queries):
        cosine = gallery @ query / np.linalg.norm(gallery, axis=1)
        assert nearer[row] == (cosine > cosine[row]).sum() and equal[row] == 1
    assert retrieval_at(3, queries, gallery) == pytest.approx((nearer < 3).mean())


def test_each_bottom_code_is_paired_with_the_top_code_above_it() -> None:
    top = np.array([[[0, 1], [2, 3]]])
    bottom = np.arange(16).reshape(1, 4, 4)
    pairs = set(zip(*(codes.tolist() for codes in code_pairs(top, bottom)), strict=True))
    assert pairs == {(top[0, y // 2, x // 2], bottom[0, y, x]) for y in range(4) for x in range(4)}


def test_mutual_information_of_codes_that_follow_and_that_do_not() -> None:
    rng = np.random.default_rng(0)
    top = rng.integers(0, 8, 4000)
    follows, chance = mutual_information(top, (top + 3) % 8, seed=0)
    assert follows == pytest.approx(1.0) and chance < 0.01
    bottom = np.where(rng.random(4000) < 0.5, top, rng.integers(0, 8, 4000))
    joint = np.bincount(top * 8 + bottom, minlength=64).reshape(8, 8) / 4000
    first, second = joint.sum(1), joint.sum(0)
    shared = (joint * np.log(joint / np.outer(first, second))).sum()
    entropies = -(first * np.log(first)).sum() - (second * np.log(second)).sum()
    assert mutual_information(top, bottom, seed=0)[0] == pytest.approx(2 * shared / entropies)
    assert mutual_information(top, rng.integers(0, 8, 4000), seed=0)[0] < 0.01
    assert mutual_information(np.zeros(9, np.int64), np.full(9, 65535), seed=0) == (1.0, 1.0)


def test_perplexity_by_position_counts_over_the_pictures() -> None:
    codes = np.array([[[0, 0], [0, 1]], [[0, 1], [0, 2]], [[0, 0], [0, 3]], [[0, 1], [0, 0]]])
    np.testing.assert_allclose(position_perplexities(codes), [[1, 2], [1, 4]])
