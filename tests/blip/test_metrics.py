import numpy as np
import pytest
import sklearn.metrics

from stages.blip.metrics import (
    average_precision,
    best_threshold,
    classification,
    image_to_text_ranks,
    macro_f1,
    nearest_captions,
    recall_at,
    roc_auc,
    text_to_image_ranks,
    unrelated_partners,
)
from stages.metrics.captions import tokenize

Scores = tuple[np.ndarray, np.ndarray]


def drawn_scores(kind: str) -> Scores:
    """Scores of 80 related and 60 unrelated pairs."""
    rng = np.random.default_rng(0)
    related, unrelated = rng.normal(1, 1, 80), rng.normal(0, 1, 60)
    if kind == "tied":
        return related.round(), unrelated.round()
    return (np.ones(80), np.ones(60)) if kind == "equal" else (related, unrelated)


def as_labels(related: np.ndarray, unrelated: np.ndarray) -> Scores:
    """The same as scikit-learn wants it: what is true and the scores."""
    return np.repeat([1, 0], [len(related), len(unrelated)]), np.concatenate([related, unrelated])


@pytest.mark.parametrize("kind", ["apart", "tied", "equal"])
@pytest.mark.parametrize("threshold", [-9.0, 0.4, 1.0, 9.0])  # 1.0 is a score where they are tied: it is not above
def test_classification_agrees_with_scikit_learn(kind: str, threshold: float) -> None:
    related, unrelated = drawn_scores(kind)
    truth, scores = as_labels(related, unrelated)
    called = scores > threshold
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        truth, called, average="binary", zero_division=0.0
    )
    expected = sklearn.metrics.accuracy_score(truth, called), precision, recall, f1
    assert tuple(classification(related, unrelated, threshold)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["apart", "tied", "equal"])
def test_areas_agree_with_scikit_learn(kind: str) -> None:
    related, unrelated = drawn_scores(kind)
    truth, scores = as_labels(related, unrelated)
    assert roc_auc(related, unrelated) == pytest.approx(sklearn.metrics.roc_auc_score(truth, scores))
    assert average_precision(related, unrelated) == pytest.approx(
        sklearn.metrics.average_precision_score(truth, scores)
    )


def test_areas_are_one_where_all_are_told_apart_and_know_their_direction() -> None:
    high, low = np.array([0.8, 0.9]), np.array([0.1, 0.2, 0.3])
    assert roc_auc(high, low) == average_precision(high, low) == 1.0
    assert roc_auc(low, high) == 0.0
    assert average_precision(low, high) == pytest.approx((1 / 3 + 2 / 4 + 3 / 5) / 3)


@pytest.mark.filterwarnings("error")
def test_there_is_no_roc_without_unrelated_pairs() -> None:
    assert np.isnan(roc_auc(np.array([0.8, 0.9]), np.zeros(0)))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_macro_f1_agrees_with_scikit_learn(share: float) -> None:
    rng = np.random.default_rng(2)
    truth, called = rng.random(90) < 0.4, rng.random(90) < share
    expected = sklearn.metrics.f1_score(truth, called, average="macro", zero_division=0.0)
    assert macro_f1(truth, called) == pytest.approx(expected)


def test_precision_is_one_by_construction_without_unrelated_pairs() -> None:
    assert tuple(classification(np.array([0.9, 0.6, 0.2, 0.8]), np.zeros(0), 0.5)) == (0.75, 1.0, 0.75, 6 / 7)


def test_the_best_threshold_is_no_worse_than_any_other() -> None:
    rng = np.random.default_rng(1)
    related, unrelated = rng.normal(1, 1, 50), rng.normal(0, 1, 50)
    best = classification(related, unrelated, best_threshold(related, unrelated)).f1
    assert best == max(classification(related, unrelated, t).f1 for t in np.linspace(-3, 4, 2000))
    assert 0.2 < best_threshold(np.array([0.8, 0.9]), np.array([0.1, 0.2])) < 0.8


def test_the_best_threshold_lies_between_two_scores_where_nothing_can_be_told_apart() -> None:
    assert best_threshold(np.full(4, 0.5), np.full(4, 0.5)) == pytest.approx(0.5, abs=1e-5)  # calls all related
    assert best_threshold(np.full(4, 0.5), np.full(4, 0.5)) < 0.5


def test_ranks_count_pictures_once_and_ties_against_the_caption() -> None:
    image = np.eye(4)[[0, 0, 1, 2]]
    index = np.array([7, 7, 8, 9])
    text = np.array([[1.0, 0, 0, 0], [0.1, 0.9, 0, 0], [0, 1.0, 0.5, 0], [0.3, 0.3, 0.3, 0]])
    assert text_to_image_ranks(text, image, index).tolist() == [1, 2, 1, 3]
    assert recall_at(np.array([1, 2, 1, 3]), 1) == 0.5
    assert recall_at(np.array([1, 2, 1, 3]), 2) == 0.75


def test_a_picture_is_ranked_by_the_best_of_its_captions_whatever_its_others_do() -> None:
    image = np.eye(4)[[2, 0, 0, 0, 1]]
    index = np.array([9, 7, 7, 7, 8])  # picture 9 comes first, but pictures are ranked in ascending order
    text = np.array(
        [
            [0.6, 0.4, 0.4, 0.0],  # of picture 9: both others' captions are as near to it or nearer
            [0.7, 0.1, 0.0, 0.0],  # best of picture 7, whose two others are no rivals
            [0.6, 0.0, 0.5, 0.0],
            [0.0, 0.5, 0.4, 0.0],
            [0.1, 0.5, 0.0, 0.0],  # of picture 8: tied with a caption of picture 7
        ]
    )
    assert image_to_text_ranks(text, image, index).tolist() == [1, 2, 3]


@pytest.mark.parametrize("ties", [False, True])
def test_ranks_are_those_of_a_plain_count(ties: bool) -> None:
    rng = np.random.default_rng(3)
    index = rng.integers(12, size=30)
    pictures, text = rng.normal(size=(12, 6)), rng.normal(size=(30, 6))
    if ties:
        pictures, text = pictures.round(), text.round()
    image = pictures[index]
    to_image = [
        sum(text[i] @ pictures[p] >= text[i] @ pictures[index[i]] for p in set(index.tolist())) for i in range(30)
    ]
    to_text = []
    for picture in sorted(set(index.tolist())):
        best = max(pictures[picture] @ text[i] for i in range(30) if index[i] == picture)
        to_text.append(1 + sum(pictures[picture] @ text[i] >= best for i in range(30) if index[i] != picture))
    assert text_to_image_ranks(text, image, index).tolist() == to_image
    assert image_to_text_ranks(text, image, index).tolist() == to_text


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_more_rows_than_are_held_at_a_time_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    index, text = rng.integers(12, size=31), rng.normal(size=(31, 6))
    image = rng.normal(size=(12, 6))[index]
    captions = [" ".join(rng.choice(["red", "ship", "sea", "dog", "blue", "old"], 4)) for _ in range(31)]
    groups = [str(picture) for picture in index]

    def measured() -> list[list[int]]:
        ranks = text_to_image_ranks(text, image, index), image_to_text_ranks(text, image, index)
        return [found.tolist() for found in (*ranks, nearest_captions(captions, groups))]

    whole = measured()
    monkeypatch.setattr("stages.blip.metrics._ROWS", rows)
    assert measured() == whole


def test_partners_share_neither_picture_nor_content() -> None:
    index = np.array([0, 0, 1, 2, 3, 4])
    content = ["a", "b", "c", "c", "d", "a"]
    for seed in range(50):
        partners = unrelated_partners(index, content, np.random.default_rng(seed))
        for i, j in enumerate(partners):
            assert index[i] != index[j] and content[i] != content[j]


def test_a_pair_to_which_all_is_related_has_no_partner() -> None:
    assert unrelated_partners(np.array([0, 0]), ["a", "b"], np.random.default_rng(0)).tolist() == [-1, -1]


def test_the_nearest_caption_shares_most_words_and_rare_ones_count_more() -> None:
    captions = [
        "a ship on the sea",
        "the sea, a ship, and a gull",  # nearest to the first: sea and ship
        "a dog on the sofa",
        "a cat on the sofa",
        "the zebra",  # shares only "the" with others, but the last has it too and is rare
        "the zebra and a gull on the sofa",
    ]
    assert nearest_captions(captions, [str(i) for i in range(6)]).tolist() == [1, 0, 3, 2, 5, 4]


def test_a_nearest_caption_is_never_of_the_same_words_or_the_same_group() -> None:
    captions = ["A ship, at sea", "a ship at sea!", "a ship at night", "a dog at night", "a ship at sea by night"]
    groups = ["a", "b", "c", "d", "a"]
    partners = nearest_captions(captions, groups)
    assert partners.tolist() == [2, 4, 4, 2, 1]
    for i, j in enumerate(partners):
        assert groups[i] != groups[j] and tokenize(captions[i]) != tokenize(captions[j])


def test_there_is_no_nearest_caption_where_no_other_is_left() -> None:
    assert nearest_captions(["a ship", "A ship!", "a dog"], ["a", "b", "b"]).tolist() == [2, -1, 0]
    assert nearest_captions(["a ship", "a dog"], ["a", "a"]).tolist() == [-1, -1]
    assert nearest_captions(["a ship, a sea", "a sea, a ship", "a dog"], ["a", "b", "c"]).tolist() == [2, 2, 0]
    assert nearest_captions(["...", "?!"], ["a", "b"]).tolist() == [-1, -1]  # no words at all
