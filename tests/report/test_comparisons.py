"""Systems, controls and ceilings are told apart, differences stand with their signs, seeds side by side."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from stages.evaluation.compared import COMPARED
from stages.report import stage
from stages.report.comparisons import compared_table, paired_table, role_groups, seeds_table
from stages.report.facts import Evaluation, parse_evaluation
from stages.report.metric import kind_of
from stages.report.sections import systems_tables
from stages.report.table import Cell


def evaluation(**sections: Any) -> Evaluation:
    """An evaluation of every system by one metric."""
    systems = {name: {"attribute_accuracy": {"value": 0.5, "n": 9}} for name in COMPARED}
    return parse_evaluation({"split": "test", "systems": systems, **sections})


def difference(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "n": 500, "ci95": [low, high], "protocol": "paired"}


def test_columns_stand_under_what_they_are() -> None:
    groups = [("Systems", 2), ("Controls (floors)", 5), ("Ceilings", 2)]
    (table,) = systems_tables(evaluation())
    assert table.groups == groups
    assert role_groups(["diffusion", "mean_picture", "unheard_of"]) == [
        ("Systems", 1),
        ("Controls (floors)", 1),
        ("Others", 1),
    ]


def test_each_family_of_metrics_has_its_table_and_what_nobody_foresaw_the_last() -> None:
    paths = ["seconds_per_picture", "bleu1", "attribute_accuracy", "precision_blip", "sparkle", "mse", "lpips_vgg"]
    paths += ["attribute_accuracy_compositions", "r_precision", "recall_blip", "copied_blip"]
    scores = {path: {"value": 0.5, "n": 9} for path in paths}
    tables = systems_tables(parse_evaluation({"split": "test", "systems": {"prior": scores, "real": scores}}))
    assert [len(table.rows) for table in tables] == [3, 1, 2, 2, 1, 1]
    assert tables[0].title == "Do the pictures show what the prompts say?" and tables[-1].title == "Other metrics"
    named = [kind_of(path).label for path in ("precision_blip", "recall_blip")]
    assert [row[0].text for row in tables[3].rows] == [f"{label} ↑" for label in named]
    assert len({table.id for table in tables}) == len(tables)


def test_every_system_says_what_it_is_and_why_it_is_there() -> None:
    table = compared_table(evaluation(), {})
    assert [row[0].text for row in table.rows] == [compared.title for compared in COMPARED.values()]
    assert [row[1].text for row in table.rows] == ["system"] * 2 + ["control (floor)"] * 5 + ["ceiling"] * 2
    assert all(row[2].text.endswith(".") and len(row[2].text) > 50 for row in table.rows)
    assert table.remark == ""
    assert (
        "12 prompts have a picture that is in train too"
        in compared_table(evaluation(prompts={"count": 500, "pictures_in_train": 12}), {}).remark
    )


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        ({"space": "latent", "pretrained": ""}, "latents of the same VQ-VAE"),
        ({"space": "pixel", "pretrained": ""}, "the pictures themselves"),
        ({"space": "latent", "pretrained": "somebody/stable-diffusion"}, "checkpoint tuned on the train pictures"),
    ],
)
def test_it_is_said_which_baseline_it_is(baseline: dict[str, str], said: str) -> None:
    about = {row[0].text: row[2].text for row in compared_table(evaluation(), baseline).rows}
    assert [title for title, text in about.items() if said in text] == ["Diffusion"]


def test_differences_have_signs_and_are_bold_where_they_leave_out_none() -> None:
    table = paired_table(
        evaluation(
            paired={
                "diffusion": {"attribute_accuracy": difference(0.538, 0.51, 0.56), "mse": difference(-0.02, -0.03, 0)},
                "retrieval": {"attribute_accuracy": difference(-0.01, -0.02, -0.005)},
            }
        )
    )
    assert table.head == ["metric", "minus Diffusion", "minus Nearest caption"]
    assert table.groups == [("Systems", 1), ("Controls (floors)", 1)]
    ahead, behind = table.rows[0][1:]
    assert (ahead.text, ahead.best) == ("+53.8 points", True) and "51.0" in ahead.detail and "500" in ahead.detail
    assert (behind.text, behind.best) == ("-1.0 points", True)
    error, missing = table.rows[1][1:]
    assert (error.text, error.best) == ("-0.020", False) and missing == Cell("\N{EN DASH}", missing=True)


def test_without_pairs_there_is_no_table() -> None:
    reason = {"value": None, "n": 0, "ci95": None, "protocol": "", "reason": "no prior"}
    assert paired_table(evaluation()).rows == []
    assert paired_table(evaluation(paired={"diffusion": {"mse": reason}})).rows == []


SPREAD = {
    "mean": {"value": 0.95, "n": 500, "ci95": [0.94, 0.96], "protocol": "mean over 2 seeds"},
    "standard_deviation": 0.004,
    "values": {"10000": 0.953, "10001": 0.947},
}


def test_seeds_stand_side_by_side() -> None:
    table = seeds_table(evaluation(seeds={"prior": {"attribute_accuracy": SPREAD}}))
    assert table.head == ["", "mean", "standard deviation", "seed 10000", "seed 10001"]
    assert [cell.text for cell in table.rows[0]] == [
        "Prior: Attribute accuracy \N{UPWARDS ARROW}",
        "95.0",
        "0.4",
        "95.3",
        "94.7",
    ]
    assert table.rows[0][1].detail == "94.0\u00a0to\u00a096.0, n\u00a0500" and table.notes == []
    assert seeds_table(evaluation(seeds={"reason": "evaluation.seeds is 1"})).rows == []


@pytest.mark.parametrize("seeds", [False, True])
def test_the_page_shows_them(make_tree: Callable[..., Any], seeds: bool) -> None:
    tree = make_tree()
    if seeds:
        tree.metrics["seeds"] = {"prior": {"attribute_accuracy": SPREAD}}
        tree.write_metrics()
    stage.run(tree.config, tree.workspace)
    folder = tree.workspace.directory("report")
    html, markdown = (folder / "index.html").read_text(), (folder / "report.md").read_text()
    assert re.findall(r'<th scope="colgroup" colspan="(\d)">([^<]+)<', html)[:3] == [
        ("2", "Systems"),
        ("5", "Controls (floors)"),
        ("2", "Ceilings"),
    ]
    for page in (html, markdown):
        assert "Prior minus each other, paired on the same prompts" in page and "+55.0 points" in page
        assert "scored against the caption of another picture" in page
        assert ("painted with other seeds" in page) == seeds
