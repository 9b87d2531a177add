import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from stages.metrics import find_thesaurus
from stages.metrics.captions import (
    bleu,
    bleu_of_sums,
    bleu_statistics,
    meteor,
    rouge,
    sentence_bleu,
    tokenize,
)

# The example of the published report.
REFERENCE, HYPOTHESIS = ["ship in a storm"], ["ship in ocean"]


def test_words_are_lower_cased_runs_of_letters_and_digits() -> None:
    assert tokenize("A man's ÉTUDE, no. 12_b!") == ["a", "man", "s", "étude", "no", "12", "b"]


def test_bleu_of_the_published_example_by_hand() -> None:
    brevity = np.exp(1 - 4 / 3)  # 3 words for 4
    assert bleu(REFERENCE, HYPOTHESIS, 1) == pytest.approx(brevity * 2 / 3)
    assert bleu(REFERENCE, HYPOTHESIS, 2) == pytest.approx(brevity * np.sqrt(2 / 3 * 1 / 2))
    assert bleu(REFERENCE, HYPOTHESIS, 4) == pytest.approx(0, abs=1e-60)  # unsmoothed, no 3-gram in common
    smoothed = brevity * (2 / 3 * 1 / 2 * 0.1 / 1 * 0.1 / 1) ** 0.25
    assert sentence_bleu(REFERENCE, HYPOTHESIS, 4) == pytest.approx([smoothed])
    assert sentence_bleu(REFERENCE, HYPOTHESIS, 2) == pytest.approx([brevity * np.sqrt(2 / 3 * 1 / 2)])
    assert sentence_bleu(REFERENCE, HYPOTHESIS, 4, smoothed=False).tolist() == [0.0]


def test_bleu_of_the_example_in_nltk_s_documentation() -> None:
    reference = ["It is a guide to action that ensures that the military will forever heed Party commands"]
    hypothesis = ["It is a guide to action which ensures that the military always obeys the commands of the party"]
    # 11 of 18 words ("party" counts: lower case), 8 of 17 pairs, 6 of 16, 4 of 15; longer than the reference
    by_hand = (12 / 18 * 8 / 17 * 6 / 16 * 4 / 15) ** 0.25
    assert bleu(reference, hypothesis, 4) == pytest.approx(by_hand, abs=1e-6)


def test_corpus_bleu_from_sums_is_nltk_s() -> None:
    rng = np.random.default_rng(0)
    words = np.array(["a", "red", "ship", "on", "the", "calm", "sea"])
    texts = [" ".join(rng.choice(words, size=rng.integers(1, 12))) for _ in range(60)]
    references, hypotheses = texts[:30], texts[30:]
    sums = bleu_statistics(references, hypotheses).sum(axis=0, keepdims=True)
    for order in (1, 2, 3, 4):
        assert bleu_of_sums(sums, order)[0] == pytest.approx(bleu(references, hypotheses, order), abs=1e-9)


def random_texts(shortest: int) -> tuple[list[str], list[str]]:
    """200 references and hypotheses with much in common."""
    rng = np.random.default_rng(1)
    words = np.array(["a", "red", "ship", "on", "the", "calm", "sea"])
    texts = [" ".join(rng.choice(words, size=rng.integers(shortest, 12))) for _ in range(400)]
    return texts[:200], texts[200:]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_corpus_bleu_is_sacrebleu_s(order: int) -> None:
    references, hypotheses = random_texts(shortest=4)
    theirs = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order)
    expected = theirs.corpus_score(hypotheses, [references]).score / 100
    assert bleu(references, hypotheses, order) == pytest.approx(expected, abs=1e-6) and expected > 0.02


@pytest.mark.parametrize("smoothed", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_sentence_bleu_is_sacrebleu_s(order: int, smoothed: bool) -> None:
    references, hypotheses = random_texts(shortest=4)
    method = {"smooth_method": "floor", "smooth_value": 0.1} if smoothed else {"smooth_method": "none"}
    theirs = BLEU(tokenize="none", effective_order=False, max_ngram_order=order, **method)
    expected = [
        theirs.sentence_score(own, [reference]).score / 100
        for reference, own in zip(references, hypotheses, strict=True)
    ]
    assert sentence_bleu(references, hypotheses, order, smoothed=smoothed) == pytest.approx(expected, abs=1e-6)
    assert np.mean(expected) > 0.001  # some have an n-gram of each order in common


def test_captions_too_short_for_an_order_are_a_miss_in_nltk_and_nothing_in_sacrebleu() -> None:
    references, hypotheses = ["a red ship on the sea", "a ship"], ["a red ship on the sea", "a ship"]
    theirs = BLEU(tokenize="none", smooth_method="none").corpus_score(hypotheses, [references]).score / 100
    assert theirs == pytest.approx(1)
    assert bleu(references, hypotheses, 4) == pytest.approx((4 / 5 * 3 / 4) ** 0.25)  # one miss more of 3- and 4-grams


def test_rouge_of_the_published_example() -> None:
    assert rouge(REFERENCE, HYPOTHESIS, "rouge1") == pytest.approx([4 / 7])  # P 2/3, R 2/4: 0.571
    assert rouge(REFERENCE, HYPOTHESIS, "rougeL") == pytest.approx([4 / 7])
    assert rouge(REFERENCE, HYPOTHESIS, "rouge2") == pytest.approx([2 / 5])  # "ship in" of 3 and of 2 pairs
    assert rouge(["a b c d"], ["d c b a"], "rougeL") == pytest.approx([1 / 4])  # one of four in order


def test_meteor_of_the_published_example_by_hand() -> None:
    mean = (2 / 3 * 2 / 4) / (0.9 * 2 / 3 + 0.1 * 2 / 4)
    penalty = 0.5 * (1 / 2) ** 3  # one chunk of two words
    assert meteor(REFERENCE, HYPOTHESIS, find_thesaurus()) == pytest.approx([mean * (1 - penalty)])


def test_a_picture_without_a_caption_scores_0() -> None:
    assert sentence_bleu(["a ship"], [""], 4).tolist() == [0.0]
    assert meteor(["a ship"], [""], find_thesaurus()).tolist() == [0.0]
    assert rouge(["a ship"], [""], "rougeL").tolist() == [0.0]
    assert bleu(["a ship"], [""], 4) == 0.0
    assert bleu_of_sums(bleu_statistics(["a ship"], [""]).sum(axis=0, keepdims=True), 4)[0] == 0.0
