"""Captions against captions, one reference each: BLEU and METEOR by nltk, ROUGE by rouge-score.

All read the same words: lower case, runs of letters and digits, punctuation dropped.
"""

import re
import warnings
from collections.abc import Sequence

import numpy as np

from stages.metrics.wordnet import Thesaurus

TOKENISER = "lower-cased runs of letters and digits, no punctuation"
LARGEST_ORDER = 4
_NOTHING = 1e-50  # nltk writes the smallest float for a precision of 0, which gives less than this
_WORD = re.compile(r"[^\W_]+")


def tokenize(text: str) -> list[str]:
    """The words of a text: lower-cased runs of letters and digits, in order."""
    return _WORD.findall(text.lower())


def bleu(references: Sequence[str], hypotheses: Sequence[str], order: int) -> float:
    """Corpus BLEU (Papineni et al. 2002) of 1- to `order`-grams, equal weights, unsmoothed, in [0,1]."""
    from nltk.translate.bleu_score import corpus_bleu

    weights = (1 / order,) * order
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no n-gram in common is an answer here
        score = float(
            corpus_bleu([[tokenize(text)] for text in references], [tokenize(text) for text in hypotheses], weights)
        )
    return score if score > _NOTHING else 0.0


def bleu_statistics(references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """What corpus BLEU sums over sentences: (n,10) matches and totals of 1- to 4-grams, own and reference length."""
    from nltk.translate.bleu_score import closest_ref_length, modified_precision

    rows = []
    for reference, hypothesis in zip(map(tokenize, references), map(tokenize, hypotheses), strict=True):
        precisions = [modified_precision([reference], hypothesis, n) for n in range(1, LARGEST_ORDER + 1)]
        lengths = [len(hypothesis), closest_ref_length([reference], len(hypothesis))]
        rows.append([p.numerator for p in precisions] + [p.denominator for p in precisions] + lengths)
    return np.array(rows, dtype=np.int64).reshape(-1, 2 * LARGEST_ORDER + 2)


def bleu_of_sums(sums: np.ndarray, order: int) -> np.ndarray:
    """Corpus BLEU (R,) of R sums (R,10) of `bleu_statistics`, in [0,1]."""
    matches, totals = sums[:, :order], sums[:, LARGEST_ORDER : LARGEST_ORDER + order]
    own, reference = sums[:, -2], sums[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.exp(np.log(matches / totals).mean(axis=1))
        brevity = np.where(own > reference, 1.0, np.exp(1 - reference / own))
    return np.where(own > 0, precision * brevity, 0.0)


def sentence_bleu(
    references: Sequence[str], hypotheses: Sequence[str], order: int, *, smoothed: bool = True
) -> np.ndarray:
    """Sentence BLEU (n,) of 1- to `order`-grams, equal weights, in [0,1].

    Args:
        smoothed: no match is counted as 0.1 (`method1` of Chen and Cherry 2014).
    """
    from nltk.translate import bleu_score

    methods, weights = bleu_score.SmoothingFunction(), (1 / order,) * order
    smoothing = methods.method1 if smoothed else methods.method0
    pairs = zip(map(tokenize, references), map(tokenize, hypotheses), strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no n-gram in common is an answer here
        scores = [
            bleu_score.sentence_bleu([reference], own, weights, smoothing) if own else 0.0 for reference, own in pairs
        ]
    return np.array([score if score > _NOTHING else 0.0 for score in scores])


def meteor(references: Sequence[str], hypotheses: Sequence[str], thesaurus: Thesaurus) -> np.ndarray:
    """METEOR (n,) in [0,1] (Lavie and Agarwal 2007; alpha 0.9, beta 3, gamma 0.5), synonyms by the thesaurus."""
    from nltk.translate.meteor_score import single_meteor_score

    pairs = zip(map(tokenize, references), map(tokenize, hypotheses), strict=True)
    return np.array([single_meteor_score(reference, own, wordnet=thesaurus.reader) for reference, own in pairs])


def rouge(references: Sequence[str], hypotheses: Sequence[str], kind: str) -> np.ndarray:
    """ROUGE F1 (n,) in [0,1] (Lin 2004), no stemming.

    Args:
        kind: `rouge1` (words), `rouge2` (pairs of words) or `rougeL` (longest common subsequence).
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], tokenizer=_Words())
    return np.array([scorer.score(r, h)[kind].fmeasure for r, h in zip(references, hypotheses, strict=True)])


class _Words:
    """`tokenize` in the shape that rouge-score asks for."""

    def tokenize(self, text: str) -> list[str]:
        return tokenize(text)
