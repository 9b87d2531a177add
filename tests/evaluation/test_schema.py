"""`metrics.schema.json`: it describes what the stage writes, and sees what it does not describe."""

import copy
import re
from typing import Any

import pytest

from stages.evaluation import stage
from stages.evaluation.compared import COMPARED
from stages.evaluation.headlines import HEADLINES
from tests.evaluation.schema import SCHEMA, violations

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
            "seeds": {"prior": {"meteor": {"mean": FIGURE, "standard_deviation": 0.1, "values": {"10000": 0.4}}}},
            "budgets": {
                "diffusion of demo-longer": {
                    "parameters": 9,
                    "pictures_seen": None,
                    "train_seconds": 1.5,
                    "mse": FIGURE,
                }
            },
            "vqvae": {"psnr_db": FIGURE, "usage_top": FIGURE | {"ci95": None}},
            "blip": {"itm_hard_accuracy/colour": FIGURE, "text_to_image_r10": FIGURE},
            "prior": {"val_nll_bits_per_code_top_shuffled": FIGURE},
            "published": {
                "prior": {"bleu4_sentence_unsmoothed": FIGURE, "lpips": MISSING},
                "reconstruction": {"mse": FIGURE},
                "blip": {"f1": FIGURE, "similarity_std": FIGURE},
            },
            "copying": {"threshold_blip": FIGURE},
            "confusion": {"prior": {"colour": {"asked": ["red"], "shown": ["red", "none seen"], "counts": [[3, 1]]}}},
            "sweep": {"attribute_accuracy": {"guidance 1.5": {"temperature 0.7": FIGURE}}},
            "judge": {"accuracy": {"colour": FIGURE}, "accuracy_mean": FIGURE, "train_pictures": 48},
        }
    )


def test_what_is_described_is_valid() -> None:
    assert violations(document()) == []
    without = document() | {
        name: {"reason": "why"} for name in ("seeds", "vqvae", "blip", "prior", "confusion", "sweep")
    }
    assert violations(without) == []


@pytest.mark.parametrize("section", ["", *(name for name in document() if isinstance(document()[name], dict))])
def test_a_key_that_is_not_described_is_seen(section: str) -> None:
    metrics = document()
    (metrics[section] if section else metrics)["bleu5"] = FIGURE
    assert violations(metrics) == [section]


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("systems/prior/bleu5", FIGURE, "systems/prior"),
        ("systems/prior/lpips", FIGURE | {"note": "x"}, "systems/prior/lpips"),
        ("systems/prior/lpips", {"value": None, "n": 0, "ci95": None, "protocol": "how"}, "systems/prior/lpips"),
        ("systems/prior/lpips", FIGURE | {"ci95": [0.1]}, "systems/prior/lpips"),
        ("systems/prior/lpips", FIGURE | {"protocol": ""}, "systems/prior/lpips"),
        ("prompts/count", "8", "prompts/count"),
        ("prompts/count", True, "prompts/count"),
        ("prompts/count", 0, "prompts/count"),
        ("seeds/prior/meteor/values", {"first": 0.4}, "seeds"),
        ("confusion/prior/colour/counts", [[0.5]], "confusion"),
    ],
)
def test_what_is_not_as_described_is_seen(path: str, value: Any, where: str) -> None:
    metrics = document()
    *parents, name = path.split("/")
    inner = metrics
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    (found,) = violations(metrics)
    assert found.startswith(where)


def test_a_section_that_is_missing_is_seen() -> None:
    metrics = document()
    del metrics["judge"], metrics["systems"]["real"]
    assert violations(metrics) == ["", "systems"]


def test_the_docstring_names_the_same_sections() -> None:
    lines = re.findall(r"^((?:\w+, )*\w+)  +\S", stage.__doc__ or "", flags=re.MULTILINE)
    assert sorted(name for line in lines for name in line.split(", ")) == sorted(SCHEMA["properties"])


def test_the_schema_names_what_is_compared() -> None:
    assert list(SCHEMA["properties"]["systems"]["properties"]) == list(COMPARED)
