"""The first paragraph says what the figures say."""

from typing import Any

from stages.evaluation.compared import COMPARED
from stages.report.facts import Evaluation, Pictures, RunFacts, parse_evaluation
from stages.report.summary import summarise


def facts(paired: dict[str, Any] | None = None, **systems: dict[str, Any]) -> RunFacts:
    """A run of which only the evaluation is known."""
    raw = {
        "paired": paired or {},
        "split": "test",
        "systems": systems,
        "vqvae": {"psnr_db": {"value": 27.5, "n": 500}},
        "prior": {
            "val_nll_bits_per_code": 2.3,
            "val_nll_bits_per_code_shuffled": 3.4,
            "val_nll_bits_per_code_top": 2.0,
        },
    }
    return RunFacts("demo", {}, {}, parse_evaluation(raw), Pictures([], [], {}))


def score(value: float | None, half: float = 0.01, name: str = "attribute_accuracy") -> dict[str, Any]:
    interval = None if value is None else [value - half, value + half]
    return {name: {"value": value, "n": 500, "ci95": interval, "protocol": "", "reason": "no judge"}}


def test_the_better_system_is_named_first_in_both_directions() -> None:
    first = summarise(facts(prior=score(0.86), diffusion=score(0.81)))[0]
    assert first.startswith("The prior beats the diffusion baseline") and "overlap" not in first
    assert "show 86.0 %" in first and "81.0 %" in first
    first = summarise(facts(prior=score(0.81), diffusion=score(0.86)))[0]
    assert first.startswith("The diffusion baseline beats the prior")
    assert first.index("86.0") < first.index("81.0")


def test_a_lead_within_the_intervals_is_called_that_and_a_tie_a_tie() -> None:
    assert "their 95 % intervals overlap" in summarise(facts(prior=score(0.86, 0.04), diffusion=score(0.84, 0.04)))[0]
    assert "are level" in summarise(facts(prior=score(0.8), diffusion=score(0.8)))[0]


def difference(value: float, half: float, name: str = "attribute_accuracy") -> dict[str, Any]:
    return {name: {"value": value, "n": 500, "ci95": [value - half, value + half], "protocol": "", "reason": ""}}


def test_the_difference_on_the_same_prompts_decides_where_it_is_known() -> None:
    scores = {"prior": score(0.86, 0.04), "diffusion": score(0.84, 0.04)}
    first = summarise(facts({"diffusion": difference(0.02, 0.01)}, **scores))[0]
    assert first.startswith("The prior beats the diffusion baseline") and "overlap" not in first
    assert "prompt by prompt the lead is 2.0 points (95 % interval 1.0 to 3.0)" in first
    first = summarise(facts({"diffusion": difference(0.02, 0.03)}, **scores))[0]
    assert "the lead of 2.0 points cannot be told from none (95 % interval -1.0 to 5.0)" in first
    behind = {"prior": score(0.84, 0.04), "diffusion": score(0.86, 0.04)}
    first = summarise(facts({"diffusion": difference(-0.02, 0.01)}, **behind))[0]
    assert first.startswith("The diffusion baseline beats the prior")
    assert "prompt by prompt the lead is 2.0 points (95 % interval 1.0 to 3.0)" in first


def test_captions_matter_where_the_pairs_say_so() -> None:
    scores = {"prior": score(0.34, 0.04), "prior_shuffled": score(0.31, 0.04)}
    assert "cannot be shown to follow" in summarise(facts(**scores))[1]
    assert "do follow" in summarise(facts({"prior_shuffled": difference(0.03, 0.01)}, **scores))[1]
    assert "cannot be shown to follow" in summarise(facts({"prior_shuffled": difference(0.03, 0.04)}, **scores))[1]


def test_what_copying_earns_is_said() -> None:
    plain = summarise(facts(prior=score(0.86), retrieval=score(0.9)))
    assert plain[1].startswith("Copying the train picture with the nearest caption reaches 90.0 %; the prior needs ")
    for value, half, said in (
        (-0.04, 0.01, "more than the prior (the prior minus it: -4.0 points, 95 % interval -5.0 to -3.0)"),
        (0.04, 0.01, "less than the prior (the prior minus it: 4.0 points, 95 % interval 3.0 to 5.0)"),
        (0.01, 0.03, "which cannot be told from the prior (the prior minus it: 1.0 points, 95 % interval -2.0 to 4.0)"),
    ):
        known = {"retrieval": difference(value, half)}
        assert (
            summarise(facts(known, prior=score(0.86), retrieval=score(0.9)))[1]
            .partition("; ")[0]
            .endswith(f"reaches 90.0 %, {said}")
        )
    new = "attribute_accuracy_compositions"
    both = {"prior": score(0.86) | score(0.8, name=new), "retrieval": score(0.9) | score(0.6, name=new)}
    assert (
        "on combinations that train never shows, 60.0 %, where the prior reaches 80.0 %" in summarise(facts(**both))[1]
    )


def test_without_attributes_the_itc_cosine_decides() -> None:
    systems = {
        "prior": score(None) | score(0.31, name="itc_cosine"),
        "diffusion": score(None) | score(0.44, name="itc_cosine"),
    }
    first = summarise(facts(**systems))[0]
    assert first.startswith("The diffusion baseline beats the prior") and "BLIP ITC cosine of 0.440" in first


def test_one_system_alone_or_none_is_said() -> None:
    assert "the diffusion baseline could not be compared" in summarise(facts(prior=score(0.8)))[0]
    assert "the prior could not be compared (no judge)" in summarise(facts(prior=score(None), diffusion=score(0.8)))[0]
    assert "has been scored" in summarise(RunFacts("demo", {}, {}, Evaluation(), Pictures([], [], {})))[0]


def test_captions_that_do_not_matter_are_called_out() -> None:
    matters = summarise(facts(prior=score(0.86), prior_shuffled=score(0.31)))[1]
    assert "55.0 points less" in matters and "do follow their captions" in matters
    assert "2.300 bits per code given the true caption and 3.400 given another" in matters
    ignored = summarise(facts(prior=score(0.31), prior_shuffled=score(0.32)))[1]
    assert "1.0 points more" in ignored and "cannot be shown to follow" in ignored


def test_three_sentences_when_everything_is_there() -> None:
    everything = facts(**{name: score(0.9 - 0.05 * place) for place, name in enumerate(COMPARED)})
    assert len(summarise(everything)) == 3
    scores = {"prior": score(0.8), "diffusion": score(0.7), "prior_shuffled": score(0.3), "retrieval": score(0.6)}
    sentences = summarise(facts(**scores, reconstruction=score(0.97), real=score(0.99)))
    assert len(sentences) == 3 and all(sentence.endswith(".") and ". " not in sentence for sentence in sentences)
    assert sentences[1].startswith("Copying the train picture with the nearest caption reaches 60.0 %; scored against")
    assert "27.50 dB" in sentences[2] and "97.0 %" in sentences[2] and "99.0 %" in sentences[2]
