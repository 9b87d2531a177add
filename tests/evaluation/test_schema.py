"""`metrics.schema.json`: it describes what the stage writes, and sees what it does not describe."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stages.evaluation import stage
from stages.evaluation.compared import COMPARED
from stages.evaluation.headlines import HEADLINES
from stages.evaluation.sections import VQVAE_FIGURES
from tests.evaluation.schema import violations

SCHEMA = json.loads((Path(stage.__file__).parent / "metrics.schema.json").read_text())
FIGURE = {"value": 0.5, "n": 8, "ci95": [0.4, 0.6], "protocol": "how"}
MISSING = {"value": None, "n": 0, "ci95": None, "protocol": "how", "reason": "why"}


def document() -> dict[str, Any]:
    """A whole `metrics.json`, as small as can be."""
    return copy.deepcopy(
        {
            "run": "demo",
            "split": "test",
            "prompts": {"count": 8, "pictures_in_train": 0},
            "systems": {name: {"attribute_accuracy/colour": FIGURE, "lpips": MISSING} for name in COMPARED},
            "paired": {name: dict.fromkeys(HEADLINES, FIGURE) for name in list(COMPARED)[1:7]},
            "seeds": {"prior": {"meteor": {"mean": 0.5, "standard_deviation": 0.1, "values": {"10000": 0.4}}}},
            "budgets": {
                "diffusion of demo-longer": {
                    "parameters": 9,
                    "pictures_seen": None,
                    "train_seconds": 1.5,
                    "mse": FIGURE,
                }
            },
            "vqvae": {**dict.fromkeys(VQVAE_FIGURES), "psnr_db": 27.9, "reason": "not in the manifest"},
            "blip": {"itm_hard_accuracy/colour": FIGURE, "text_to_image_r10": FIGURE},
            "prior": {"val_nll_bits_per_code_top_shuffled": 3.2},
            "copying": {"threshold_blip": FIGURE},
            "confusion": {"prior": {"colour": {"asked": ["red"], "shown": ["red", "none seen"], "counts": [[3, 1]]}}},
            "sweep": {"attribute_accuracy": {"guidance 1.5": {"temperature 0.7": FIGURE}}},
            "judge": {"accuracy": {"colour": FIGURE}, "accuracy_mean": FIGURE, "train_pictures": 48},
        }
    )


def test_what_is_described_is_valid() -> None:
    assert violations(document(), SCHEMA) == []
    without = document() | {name: {"reason": "why"} for name in ("seeds", "blip", "confusion", "sweep")}
    assert violations(without, SCHEMA) == []


@pytest.mark.parametrize("section", ["", *(name for name in document() if isinstance(document()[name], dict))])
def test_a_key_that_is_not_described_is_seen(section: str) -> None:
    metrics = document()
    (metrics[section] if section else metrics)["bleu5"] = FIGURE
    assert violations(metrics, SCHEMA) == [f"{section}: 'bleu5' is not described"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("systems/prior/bleu5", FIGURE, "systems/prior: 'bleu5' is not described"),
        ("systems/prior/lpips", FIGURE | {"note": "x"}, "systems/prior/lpips: fits 0 of 2 forms"),
        ("systems/prior/lpips", {"value": None, "n": 0, "ci95": None, "protocol": "how"}, "fits 0 of 2 forms"),
        ("systems/prior/lpips", FIGURE | {"ci95": [0.1]}, "fits 0 of 2 forms"),
        ("systems/prior/lpips", FIGURE | {"protocol": ""}, "fits 0 of 2 forms"),
        ("prompts/count", "8", "prompts/count: '8' is not of type integer"),
        ("prompts/count", True, "prompts/count: True is not of type integer"),
        ("prompts/count", 0, "prompts/count: 0 is below 1"),
        ("seeds/prior/meteor/values", {"first": 0.4}, "seeds/prior/meteor/values: 'first' is not described"),
        ("confusion/prior/colour/counts", [[0.5]], "confusion/prior/colour/counts/0/0: 0.5 is not of type integer"),
    ],
)
def test_what_is_not_as_described_is_seen(path: str, value: Any, said: str) -> None:
    metrics = document()
    *parents, name = path.split("/")
    inner = metrics
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    (found,) = violations(metrics, SCHEMA)
    assert said in found


def test_a_section_that_is_missing_is_seen() -> None:
    metrics = document()
    del metrics["judge"], metrics["systems"]["real"]
    assert violations(metrics, SCHEMA) == [": 'judge' is missing", "systems: 'real' is missing"]


def test_the_docstring_names_the_same_sections() -> None:
    lines = re.findall(r"^((?:\w+, )*\w+)  +\S", stage.__doc__ or "", flags=re.MULTILINE)
    assert sorted(name for line in lines for name in line.split(", ")) == sorted(SCHEMA["properties"])


def test_the_schema_names_what_is_compared() -> None:
    assert list(SCHEMA["properties"]["systems"]["properties"]) == list(COMPARED)


def test_a_word_that_is_not_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="not checked here: uniqueItems"):
        violations([], {"type": "array", "uniqueItems": True})
