"""Every metric of captions against captions, each with its interval and protocol."""

from collections.abc import Sequence
from functools import partial

from stages.metrics import captions
from stages.metrics.bootstrap import Resampling, bootstrap_interval, mean_metric
from stages.metrics.cider import ORDERS, SCALE, SIGMA, cider
from stages.metrics.metric import Metric
from stages.metrics.wordnet import Thesaurus

BLEU_ORDERS = (1, 2, 3, 4)
ROUGE_KINDS = ("rouge1", "rouge2", "rougeL")
ALL_ALIKE = "all references have the same words, so that no word tells one from another"


def caption_scores(
    references: Sequence[str], hypotheses: Sequence[str], thesaurus: Thesaurus, resampling: Resampling, against: str
) -> dict[str, Metric]:
    """BLEU of corpus and sentence, `meteor`, `rouge1`, `rouge2`, `rougeL` and `cider`.

    BLEU is `bleu1` to `bleu4` (corpus) and `bleu1_sentence` to `bleu4_sentence` (smoothed).

    Args:
        references: n captions, one of each hypothesis.
        hypotheses: n captions.
        against: what is compared with what, as protocols end: "captions of ... against ..., one reference each".

    Raises:
        ValueError: there are no captions, or not as many hypotheses as references.
    """
    if not 0 < len(references) == len(hypotheses):
        raise ValueError(
            f"captions are scored against as many references, at least one, got {len(hypotheses)} and {len(references)}"
        )
    means = {
        **{
            f"bleu{order}_sentence": (
                captions.sentence_bleu(references, hypotheses, order),
                _protocol(f"mean sentence BLEU-{order}", f"nltk, {_of_orders(order)}, smoothing method 1", against),
            )
            for order in BLEU_ORDERS
        },
        "meteor": (
            captions.meteor(references, hypotheses, thesaurus),
            _protocol("mean METEOR", f"nltk, alpha 0.9, beta 3, gamma 0.5; {thesaurus.description}", against),
        ),
        **{
            kind: (
                captions.rouge(references, hypotheses, kind),
                _protocol(f"mean {kind.upper()[:-1]}-{kind[-1]} F1", "rouge-score, no stemming", against),
            )
            for kind in ROUGE_KINDS
        },
    }
    return {
        **_bleu_scores(references, hypotheses, resampling, against),
        **{name: mean_metric(values, protocol, resampling) for name, (values, protocol) in means.items()},
        "cider": _cider_score(references, hypotheses, resampling, against),
    }


def unsmoothed_bleu(
    references: Sequence[str], hypotheses: Sequence[str], resampling: Resampling, against: str
) -> Metric:
    """Mean sentence BLEU-4 as the named function has it by default: 0 without a 4-gram in common."""
    values = captions.sentence_bleu(references, hypotheses, BLEU_ORDERS[-1], smoothed=False)
    protocol = _protocol("mean sentence BLEU-4", f"nltk, {_of_orders(BLEU_ORDERS[-1])}, no smoothing", against)
    return mean_metric(values, protocol, resampling)


def _of_orders(order: int) -> str:
    return f"1- to {order}-grams, equal weights"


def _protocol(what: str, how: str, against: str) -> str:
    return f"{what} ({how}; {captions.TOKENISER}); {against}"


def _bleu_scores(
    references: Sequence[str], hypotheses: Sequence[str], resampling: Resampling, against: str
) -> dict[str, Metric]:
    statistics = captions.bleu_statistics(references, hypotheses)
    return {
        f"bleu{order}": Metric(
            captions.bleu(references, hypotheses, order),
            len(hypotheses),
            bootstrap_interval(statistics, partial(captions.bleu_of_sums, order=order), resampling),
            resampling.said_of(
                _protocol(
                    f"corpus BLEU-{order}",
                    f"nltk, {_of_orders(order)}, no smoothing, shorter than an order: a miss",
                    against,
                )
            ),
        )
        for order in BLEU_ORDERS
    }


def _cider_score(references: Sequence[str], hypotheses: Sequence[str], resampling: Resampling, against: str) -> Metric:
    """Mean CIDEr-D; its document frequencies are those of all references, whichever are resampled."""
    how = (
        f"as COCO's evaluation code: {ORDERS[0]}- to {ORDERS[-1]}-grams, sigma {SIGMA:g}, document frequencies over "
        "these references"
    )
    protocol = _protocol(f"mean CIDEr-D, 0 to {SCALE:g}", how, against)
    if len({tuple(captions.tokenize(text)) for text in references}) == 1:
        return Metric.unavailable(ALL_ALIKE, protocol)
    return mean_metric(cider(references, hypotheses), protocol, resampling)
