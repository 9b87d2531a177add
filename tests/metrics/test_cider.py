import math

import numpy as np
import pytest

from stages.metrics.captions import tokenize
from stages.metrics.cider import cider

WORDS = np.array(["a", "red", "blue", "ship", "boat", "on", "the", "calm", "stormy", "sea"])


def random_captions(count: int, rng: np.random.Generator, shortest: int = 0) -> list[str]:
    return [" ".join(rng.choice(WORDS, size=rng.integers(shortest, 12))) for _ in range(count)]


def cider_d_by_the_formula(references: list[str], hypotheses: list[str]) -> list[float]:
    """arXiv:1411.5726 written out: vectors over every n-gram there is, sums as they stand in the paper."""

    def occurrences(text: str, ngram: str) -> int:  # h_k: " a b" in " a b a b", at each place
        padded = " " + " ".join(tokenize(text)) + " "
        return sum(padded.startswith(f" {ngram} ", place) for place in range(len(padded)))

    scores = [0.0] * len(references)
    for n in (1, 2, 3, 4):
        vocabulary = set()
        for text in references + hypotheses:
            words = tokenize(text)
            vocabulary |= {" ".join(words[i : i + n]) for i in range(len(words)) if i + n <= len(words)}
        ordered = sorted(vocabulary)
        having = [sum(min(1, occurrences(text, ngram)) for text in references) for ngram in ordered]
        idf = np.array([math.log(len(references)) - math.log(max(1, number)) for number in having])
        for row, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
            g_s = idf * np.array([occurrences(reference, ngram) for ngram in ordered])
            g_c = idf * np.array([occurrences(hypothesis, ngram) for ngram in ordered])
            lengths = float(np.linalg.norm(g_s)) * float(np.linalg.norm(g_c))
            if lengths > 0:
                apart = len(tokenize(hypothesis)) - len(tokenize(reference))
                gauss = math.exp(-(apart**2) / (2 * 6**2))
                scores[row] += 10 / 4 * gauss * float(np.minimum(g_c, g_s) @ g_s) / lengths
    return scores


def test_half_of_the_words_and_pairs_by_hand() -> None:
    # "a" is in both references and weighs nothing; red, ship and boat weigh log 2 each, a pair of words the same.
    scores = cider(["a red ship", "a blue boat"], ["a red boat", "nothing of it"])
    words, pairs = (
        1 / 2,
        1 / 2,
    )  # red of {red, ship} and {red, boat}; "a red" of {a red, red ship} and {a red, red boat}
    assert scores == pytest.approx([10 * (words + pairs + 0 + 0) / 4, 0.0])


def test_repeating_a_word_does_not_pay_and_length_costs() -> None:
    once, thrice = (cider(["a red ship", "a blue boat"], [text, ""])[0] for text in ("red", "red red red"))
    assert thrice == pytest.approx(10 / 4 / (3 * math.sqrt(2)))  # clipped to one red; unclipped 1 / sqrt(2)
    assert once == pytest.approx(10 / 4 / math.sqrt(2) * math.exp(-(2**2) / 72))  # two words too short


def test_an_n_gram_that_no_reference_has_weighs_as_if_one_had() -> None:
    references = ["red ship", "blue boat", "red boat"]  # red and boat are in two of three
    red, ship, kite = math.log(3 / 2), math.log(3), math.log(3)
    score = cider(references, ["red kite", "", ""])[0]
    assert score == pytest.approx(10 / 4 * red**2 / (math.hypot(red, ship) * math.hypot(red, kite)))


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_formula_of_the_paper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    references, hypotheses = random_captions(15, rng), random_captions(15, rng)
    hypotheses[::4] = references[::4]
    hypotheses[1] = " ".join(references[1].split()[::-1])
    scores = cider(references, hypotheses)
    assert scores == pytest.approx(cider_d_by_the_formula(references, hypotheses), abs=1e-6)
    assert (scores > 0).sum() >= 8 and scores.max() > 5  # there was something to agree on


def test_it_is_what_the_coco_evaluation_code_gives() -> None:
    references = [
        "a red ship on a stormy sea at dusk",
        "two ships in a calm harbour",
        "a small boat on a calm sea",
        "a ship in a storm",
    ]
    hypotheses = [
        "a red boat on a stormy sea",
        "two ships in a storm",
        "a small boat on a calm sea at dusk",
        "ship in ocean",
    ]
    # cider_scorer.py of tylin/coco-caption, 274cef6, on these words
    assert cider(references, hypotheses) == pytest.approx([3.9780238929, 5.7196248656, 7.6967685703, 1.7158891326])


def test_references_themselves_score_10_if_each_order_tells_them_apart() -> None:
    long = ["a red ship on the sea", "a blue boat on the sea", "a red boat at dusk"]
    assert cider(long, long) == pytest.approx([10, 10, 10])
    short = ["a red ship", "a boat", "on the calm sea"]  # three words have no 4-gram, two no 3-gram
    assert cider(short, short) == pytest.approx([7.5, 5, 10])
    assert cider(["a red ship at sea"] * 3, ["a red ship at sea"] * 3).tolist() == [0, 0, 0]  # nothing tells them apart


def test_scores_lie_between_0_and_10_and_follow_their_captions() -> None:
    rng = np.random.default_rng(1)
    references, hypotheses = random_captions(40, rng), random_captions(40, rng)
    scores, order = cider(references, hypotheses), rng.permutation(40)
    assert scores.shape == (40,) and scores.min() >= 0 and scores.max() <= 10
    shuffled = cider([references[row] for row in order], [hypotheses[row] for row in order])
    assert shuffled == pytest.approx(scores[order])
    shouted = cider([f"{text.upper()}!" for text in references], [text.replace(" ", ", ") for text in hypotheses])
    assert shouted == pytest.approx(scores)


def test_a_rare_word_pays_more_than_a_common_one() -> None:
    references = ["red ship", "red boat", "red kite", "blue gull"]
    rare, common = (cider(references, [text, "", "", ""])[0] for text in ("ship", "red"))
    assert rare > 2 * common > 0


def test_no_words_score_0() -> None:
    assert cider(["a red ship", ""], ["", "a red ship"]).tolist() == [0.0, 0.0]
