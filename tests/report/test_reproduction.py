"""The published figures and what is said about them."""

import numpy as np
import pytest
from nltk.translate.bleu_score import brevity_penalty, modified_precision
from rouge_score.rouge_scorer import RougeScorer

from stages.report.facts import Evaluation, parse_evaluation
from stages.report.reproduction import reproduction_table, worked_example


def rows(evaluation: Evaluation) -> dict[str, list[str]]:
    table = reproduction_table(evaluation)
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_every_published_figure_has_its_row() -> None:
    published = {name: cells[0] for name, cells in rows(Evaluation()).items()}
    wanted = ["1.0", "1.0", "1.0", "0.996", "1.0", "1.0", "0.0", "0.240", "6.5799"]
    wanted += ["0.47138", "0.13567", "0.4312", "0.1563", "0.134", "0.129", "0.124"]
    assert list(published.values()) == wanted


def test_translators_that_nobody_ran_stay_as_published() -> None:
    found = rows(Evaluation())
    for name in ("LPIPS, CycleGAN", "LPIPS, DSVIB"):
        assert found[name][1:3] == ["not run", "not run"]
        assert "not run on this task by anyone we can find" in found[name][3]


def test_ours_stands_on_both_protocols() -> None:
    evaluation = parse_evaluation(
        {
            "systems": {
                "prior": {"bleu4": {"value": 0.21, "n": 200}, "rouge1": 0.4},
                "reconstruction": {"mse": 0.0065, "psnr_db": {"value": 28.0, "n": 500, "ci95": [27.0, 29.0]}},
            },
            "blip": {"published_accuracy": 0.98, "itm_accuracy": 0.91},
            "published": {
                "blip": {"accuracy": {"value": 0.97, "n": 200, "protocol": "200 pairs of train"}},
                "reconstruction": {"mse": 0.006, "psnr_db_as_published": 21.98},
                "prior": {"bleu4_sentence_unsmoothed": 0.19, "meteor": {"value": None, "reason": "no METEOR here"}},
            },
        }
    )
    found = rows(evaluation)
    assert found["BLIP accuracy"][1:3] == ["0.970", "0.910"]
    assert found["VQ-VAE PSNR, dB"][1:3] == ["21.98 dB", "28.00 dB"]
    assert found["VQ-VAE MSE"][1:3] == ["0.006", "0.0065"]
    assert "12.60 dB" in found["VQ-VAE PSNR, dB"][3]
    assert found["BLEU"][1:3] == ["0.190", "0.210"]
    assert found["METEOR"][1] == "not available"
    assert {"200 pairs of train", "no METEOR here"} <= set(reproduction_table(evaluation).notes)


@pytest.mark.parametrize(("shared", "said"), [(0, "none of whose pictures train has"), (8, "8 of its 10 prompts show")])
def test_a_sound_protocol_on_train_pictures_is_not_called_so(shared: int, said: str) -> None:
    raw = {"split": "test", "systems": {}, "prompts": {"count": 10, "pictures_in_train": shared}}
    table = reproduction_table(parse_evaluation(raw))
    assert said in table.remark and ("not of held-out" in table.remark) == bool(shared)
    assert not any("held-out" in cell.text or "held-out" in cell.detail for row in table.rows for cell in row)


def test_their_example_sentence() -> None:
    table, sentence = worked_example()
    values = {row[0].text: row[1].text for row in table.rows}
    assert values["1-grams found in the reference"] == "2 of 3"
    assert values["4-grams found in the reference"] == "0 of 0"
    assert values["brevity penalty, exp(1 - 4/3)"] == "0.717"
    assert values["sentence BLEU-4, unsmoothed (nltk)"] == "0.000"
    assert values["ROUGE-1 F1 (rouge-score)"] == values["ROUGE-L F1 (rouge-score)"] == "0.571"
    assert "0.571" in sentence


def test_the_inequality_the_page_states_holds() -> None:
    rng = np.random.default_rng(0)
    scorer = RougeScorer(["rouge1"])
    for _ in range(300):
        reference, own = (rng.choice(list("abcdefg"), rng.integers(1, 9)).tolist() for _ in range(2))
        penalised = brevity_penalty(len(reference), len(own)) * float(modified_precision([reference], own, 1))
        rouge = scorer.score(" ".join(reference), " ".join(own))["rouge1"].fmeasure
        assert penalised <= rouge + 1e-9 or penalised == pytest.approx(rouge)
