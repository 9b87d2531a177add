"""The publication's protocol, so that our figures can be laid beside its own: pictures that were trained on.

Of its 200 test pairs 196 show a picture of train, and BLIP was asked about pairs that belong together alone.
"""

from dataclasses import replace
from typing import Any

from stages.blip import published_table
from stages.errors import StageError
from stages.evaluation.comparison import Comparison
from stages.evaluation.prompts import Prompts, choose_prompts
from stages.evaluation.scores import CAPTIONED, LPIPS_NAMES, Case, Instruments, matching_probabilities, pixel_scores
from stages.evaluation.systems import System
from stages.evaluation.train_pictures import TRAIN
from stages.metrics import Metric, caption_scores, unsmoothed_bleu

TEXT_SCORES = ("meteor", "rouge1", "rougeL")
SCORES = {
    "prior": ("bleu4_sentence_unsmoothed", *TEXT_SCORES, *LPIPS_NAMES.values()),
    "reconstruction": ("mse", "psnr_db_as_published", *LPIPS_NAMES.values()),
    "blip": (*("accuracy", "precision", "recall", "f1"), *(f"similarity_{name}" for name in ("mean", "median", "std"))),
}
"""Metrics by what they are of."""
SAID = "pairs of train, as 196 of the published 200 were"


def published_section(comparison: Comparison) -> dict[str, Any]:
    """`SCORES` of pairs of train, each as a metric in JSON."""
    count = comparison.section.published_prompts
    if count == 0:
        return {name: _unavailable(name, "evaluation.published_prompts is 0") for name in SCORES}
    prompts = choose_prompts(comparison.dataset.split(TRAIN), count, comparison.seed)
    found = {system.name: _score(comparison, system, prompts) for system in comparison.systems_named(SCORES)}
    return {**found, "blip": _blip_scores(comparison, prompts)}


def _unavailable(name: str, reason: str) -> dict[str, Any]:
    return {metric: Metric.unavailable(reason, SAID).to_json() for metric in SCORES[name]}


def _score(comparison: Comparison, system: System, prompts: Prompts) -> dict[str, Any]:
    try:
        case = comparison.show_other(system, prompts, captioned=system.name == "prior")
    except StageError as error:
        return _unavailable(system.name, str(error))
    scores = pixel_scores(case, comparison.instruments)
    if case.captions:
        scores |= _text_scores(case, comparison.instruments)
    return _to_json({name: scores[name] for name in SCORES[system.name] if name in scores})


def _text_scores(case: Case, instruments: Instruments) -> dict[str, Metric]:
    references = case.prompts[: len(case.captions)]
    scores = caption_scores(references, case.captions, instruments.thesaurus, instruments.resampling, CAPTIONED)
    bleu = unsmoothed_bleu(references, case.captions, instruments.resampling, CAPTIONED)
    return {"bleu4_sentence_unsmoothed": bleu, **{name: scores[name] for name in TEXT_SCORES}}


def _blip_scores(comparison: Comparison, prompts: Prompts) -> dict[str, Any]:
    """What BLIP makes of the true pairs."""
    pictures = comparison.dataset.images[prompts.image_rows]
    related = matching_probabilities(pictures, prompts.texts, comparison.instruments)
    return _to_json(published_table(related, comparison.instruments.resampling))


def _to_json(scores: dict[str, Metric]) -> dict[str, Any]:
    return {
        name: replace(metric, protocol=f"{metric.protocol}; {metric.n} {SAID}").to_json()
        for name, metric in scores.items()
    }
