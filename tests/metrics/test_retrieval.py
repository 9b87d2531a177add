import numpy as np
import pytest

from stages.metrics.retrieval import r_precision


def unit(rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def found_among(images: np.ndarray, captions: np.ndarray, own: np.ndarray, **how: int) -> np.ndarray:
    """Every caption but a picture's own is untrue of it."""
    return r_precision(images, captions, own, [np.delete(np.arange(len(captions)), row) for row in own], **how)


def test_another_caption_of_the_picture_is_no_wrong_answer() -> None:
    captions = np.eye(5, dtype=np.float32)
    image = unit(np.array([[0.6, 0.9, 0.1, 0, 0]]))  # nearer to its other caption, 1
    own, candidates = np.array([0]), 4
    assert r_precision(image, captions, own, [np.array([2, 3, 4])], seed=0, candidates=candidates).tolist() == [1]
    seeds = range(40)
    anything = [r_precision(image, captions, own, [np.array([1, 2, 3, 4])], s, candidates)[0] for s in seeds]
    assert 0 < np.mean(anything) < 0.6  # it is drawn three times of four


def test_the_own_caption_must_be_nearest_of_all() -> None:
    captions = np.eye(4, dtype=np.float32)
    images = unit(np.array([[0.9, 0.1, 0, 0], [0.6, 0.5, 0, 0], [0, 0, 0.2, 0.1]]))
    assert found_among(images, captions, np.array([0, 1, 2]), seed=0, candidates=4).tolist() == [1, 0, 1]


def test_it_is_found_among_as_many_others_drawn_without_the_own() -> None:
    # 3 of 200 captions lie nearer than the own: none of them is among 99 others with probability (1 - 99/199)^3, near.
    captions = unit(np.stack([np.cos(np.linspace(0, 1, 200)), np.sin(np.linspace(0, 1, 200))], axis=1))
    images = np.repeat(captions[:1], 4000, axis=0)
    found = found_among(images, captions, np.full(4000, 3), seed=1)
    chance = np.prod([(100 - k) / (199 - k) for k in range(3)])
    assert set(found.tolist()) == {0.0, 1.0} and found.mean() == pytest.approx(chance, abs=0.02)
    assert found_among(images[:5], captions, np.zeros(5, dtype=np.int64), seed=1).tolist() == [1] * 5


def test_pictures_of_noise_find_their_caption_by_chance() -> None:
    rng = np.random.default_rng(0)
    images, captions = unit(rng.normal(size=(5000, 16))), unit(rng.normal(size=(300, 16)))
    found = found_among(images, captions, rng.integers(300, size=5000), seed=0)
    assert found.mean() == pytest.approx(0.01, abs=0.005)


def test_captions_that_are_read_alike_are_found_by_lot() -> None:
    same = np.repeat(unit(np.ones((1, 8))), 100, axis=0)  # an encoder that reads nothing
    assert found_among(same[:3], same, np.array([0, 7, 99]), seed=0) == pytest.approx(np.full(3, 0.01))


def test_the_same_seed_draws_the_same_others() -> None:
    rng = np.random.default_rng(2)
    images, captions = unit(rng.normal(size=(200, 4))), unit(rng.normal(size=(150, 4)))
    own = (images @ captions.T).argsort(axis=1)[:, -2]  # the second best of all, so that the draw decides
    first, again, other = (found_among(images, captions, own, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_too_few_captions_are_refused() -> None:
    with pytest.raises(ValueError, match="100 captions of which one is true, got 99"):
        found_among(np.eye(1, 4), np.ones((99, 4)), np.zeros(1, dtype=np.int64), seed=0)
