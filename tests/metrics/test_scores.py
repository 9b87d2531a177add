import numpy as np
import pytest

from stages.metrics import Metric, Resampling, caption_scores, find_thesaurus, unsmoothed_bleu
from stages.metrics.captions import TOKENISER, bleu, meteor, rouge, sentence_bleu
from stages.metrics.cider import cider

BLEUS = [f"bleu{order}{level}" for level in ("", "_sentence") for order in (1, 2, 3, 4)]
NAMES = [*BLEUS, "meteor", "rouge1", "rouge2", "rougeL", "cider"]
REFERENCES = ["a red ship on the calm sea", "two blue boats at dusk", "a red boat on the sea", "a ship in a storm"] * 3
HYPOTHESES = ["a red ship on a calm sea", "at dusk two red boats", "a ship on the sea", "ship in ocean"] * 3


def score(references: list[str], hypotheses: list[str], seed: int = 0) -> dict[str, Metric]:
    return caption_scores(references, hypotheses, find_thesaurus(), Resampling(200, seed), "theirs against ours")


def test_every_name_holds_its_own_metric() -> None:
    found = score(REFERENCES, HYPOTHESES)
    values = {name: metric.value for name, metric in found.items()}
    assert list(found) == NAMES
    for order in (1, 2, 3, 4):
        assert values[f"bleu{order}"] == bleu(REFERENCES, HYPOTHESES, order)
    means = {
        **{f"bleu{order}_sentence": sentence_bleu(REFERENCES, HYPOTHESES, order) for order in (1, 2, 3, 4)},
        "meteor": meteor(REFERENCES, HYPOTHESES, find_thesaurus()),
        "cider": cider(REFERENCES, HYPOTHESES),
        **{kind: rouge(REFERENCES, HYPOTHESES, kind) for kind in ("rouge1", "rouge2", "rougeL")},
    }
    assert {name: values[name] for name in means} == pytest.approx({name: each.mean() for name, each in means.items()})
    assert len(set(values.values())) == len(NAMES)  # the captions tell all of them apart


def test_each_has_n_an_interval_around_it_and_says_how_it_was_got() -> None:
    found, other = score(REFERENCES, HYPOTHESES), score(REFERENCES, HYPOTHESES, seed=1)
    for name, metric in found.items():
        assert metric.value is not None and metric.ci95 is not None and metric.n == 12, name
        assert metric.ci95.low < metric.value < metric.ci95.high, name
        assert metric.ci95 != other[name].ci95 and metric.value == other[name].value, name
        assert metric.protocol.endswith(f"; {TOKENISER}); theirs against ours"), name
    assert found["rouge2"].protocol.startswith("mean ROUGE-2 F1 (rouge-score")
    assert found["cider"].protocol.startswith(
        "mean CIDEr-D, 0 to 10 (as COCO's evaluation code: 1- to 4-grams, sigma 6"
    )
    assert find_thesaurus().description in found["meteor"].protocol


def test_the_captions_themselves_score_highest_and_others_lower() -> None:
    same, other = score(REFERENCES, REFERENCES), score(REFERENCES, list(np.roll(REFERENCES, 1)))
    for name in NAMES:
        top = 10 if name == "cider" else 1
        value, below = same[name].value or 0, other[name].value or 0
        assert value == pytest.approx(top, abs=0.01) and below < 0.6 * top, name  # METEOR gives its chunk a penalty


def test_unsmoothed_bleu_is_the_named_function_s_default() -> None:
    metric = unsmoothed_bleu(REFERENCES, HYPOTHESES, Resampling(200, 0), "theirs against ours")
    assert metric.value == pytest.approx(sentence_bleu(REFERENCES, HYPOTHESES, 4, smoothed=False).mean())
    assert 0 < (metric.value or 0) < (score(REFERENCES, HYPOTHESES)["bleu4_sentence"].value or 0)
    assert "no smoothing" in metric.protocol and metric.n == 12


def test_cider_needs_references_that_differ() -> None:
    alike = score(["a red ship at sea", "A red ship at sea."], ["a red ship at sea", "a boat"])
    assert alike["cider"].value is None and "same words" in str(alike["cider"].reason)
    assert alike["bleu1"].value is not None


def test_captions_without_references_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1 and 2"):
        score(["a ship", "a boat"], ["a ship"])
    with pytest.raises(ValueError, match="at least one, got 0 and 0"):
        score([], [])
