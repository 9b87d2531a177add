"""The section BLIP: each table where it was measured, and nothing where it was not."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from stages.report import stage
from stages.report.blip import blip_section, confusion_table, decision_table, retrieval_table, score_table
from stages.report.facts import Pictures, RunFacts, parse_evaluation
from stages.report.metric import flatten
from stages.report.table import Table, markdown

IDS = ["blip-decisions", "blip-histograms", "blip-scores", "blip-retrieval", "blip-confusions", "blip-captions"]


def page_of(tree: Any) -> tuple[str, str]:
    """The published section BLIP as HTML, and the whole Markdown report."""
    stage.run(tree.config, tree.workspace)
    folder = tree.workspace.directory("report")
    html = (folder / "index.html").read_text()
    start = html.index('<section id="blip">')
    return html[start : html.index("</section>", start)], (folder / "report.md").read_text()


def texts(table: Table) -> dict[str, list[str]]:
    """The cells of a table by the name of their row."""
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def facts(metrics: dict[str, Any]) -> RunFacts:
    """A run of which only the evaluation is known."""
    return RunFacts("demo", {}, {}, parse_evaluation(metrics), Pictures([], [], {}))


def test_every_table_is_on_the_page_in_its_order(make_tree: Callable[..., Any]) -> None:
    html, text = page_of(make_tree())
    assert re.findall(r'<h3 id="(blip-[^"]+)"', html) == IDS
    for name in ("ROC-AUC", "Average precision", "Threshold", "CIDEr-D", "Median rank ↓", "line count", "R@10"):
        assert name in html and name in text
    assert "the ceiling for what captions of generated pictures can score" in html
    assert "the ceiling for what captions of generated pictures can score" in text
    assert html.index("F1 against shuffled captions is easy") < html.index('id="blip-decisions"')
    assert text.index("## BLIP\n\nF1 against shuffled captions is easy") < text.index("## Does this picture belong")
    assert "smell" not in html and "only MUSTI has passages and smells" in text  # under "not available"


def test_decisions_by_what_the_caption_is_told_from(make_tree: Callable[..., Any]) -> None:
    table = decision_table(flatten(make_tree().metrics["blip"]))
    assert table.head[1:] == [f"{name} ↑" for name in ("Accuracy", "Precision", "Recall", "F1", "ROC-AUC")] + [
        "Average precision ↑",
        "Threshold",
    ]
    rows = texts(table)
    assert list(rows) == [
        "against shuffled captions, ITM",
        "against shuffled captions, ITC",
        "against captions differing in one attribute, ITM",
        "against captions differing in one attribute, ITC",
        "the published rule: related pairs only, ITM",
    ]
    assert rows["against shuffled captions, ITM"] == ["95.0 %", "94.0 %", "96.0 %", "95.0 %", "0.987", "0.981", "0.420"]
    assert rows["against captions differing in one attribute, ITC"][-3:] == ["0.767", "0.761", "0.640"]
    assert rows["the published rule: related pairs only, ITM"] == [*["97.0 %"] * 4, "–", "–", "–"]
    assert len(table.notes) == 6  # one protocol for each row, one for all thresholds
    assert all(row[0].notes for row in table.rows)


def test_without_attributes_the_hard_captions_are_the_nearest(make_tree: Callable[..., Any]) -> None:
    html, _ = page_of(make_tree(attributes=False))
    assert "against captions nearest to the own, ITM" in html and "one attribute" not in html
    assert (
        "The captions nearest to the picture&#39;s own are the honest test" in html
        and 'id="blip-confusions"' not in html
    )


def test_the_most_confused_attribute_is_named() -> None:
    shares = {"itm": {"colour": 0.9, "line_count": 0.6}, "itc": {"colour": 0.5, "line_count": 0.7}}
    blip = {f"{score}_hard_accuracy/{name}": value for score, by in shares.items() for name, value in by.items()}
    table = confusion_table(flatten(blip))
    assert table.head == ["changed attribute", "ITM", "ITC"]
    assert texts(table) == {"colour": ["90.0 %", "50.0 %"], "line count": ["60.0 %", "70.0 %"]}
    assert table.remark.endswith("Hardest for ITM: line count, 60.0 %. Hardest for ITC: colour, 50.0 %.")


def test_retrieval_is_sorted_by_k_and_ends_with_the_median_rank() -> None:
    blip = {
        "text_to_image_median_rank": 1.5,
        "text_to_image_r10": 0.8,
        "text_to_image_r1": 0.3,
        "image_to_text_r5": 0.6,
    }
    table = retrieval_table(flatten(blip))
    assert table.head[1:] == ["caption to picture", "picture to caption"]
    assert texts(table) == {
        "R@1 ↑": ["30.0 %", "–"],
        "R@5 ↑": ["–", "60.0 %"],
        "R@10 ↑": ["80.0 %", "–"],
        "Median rank ↓": ["1.5", "–"],
    }


def test_scores_of_one_kind_of_pairs_share_their_footnote(make_tree: Callable[..., Any]) -> None:
    table = score_table(flatten(make_tree().metrics["blip"]))
    assert list(texts(table)) == [
        f"{score}, {pairs}"
        for score in ("ITM probability", "ITC cosine")
        for pairs in ("related pairs", "unrelated pairs", "hard captions")
    ]
    assert table.head[1:] == ["mean", "median", "standard deviation"]
    assert len(table.notes) == 6 and all(row[0].notes and not row[1].notes for row in table.rows)


def test_musti_has_its_subtask(make_tree: Callable[..., Any]) -> None:
    tree = make_tree(attributes=False)
    figures = {"itm": 0.55, "itc": 0.56, "probe": 0.61, "probe_shuffled": 0.49, "majority": 0.43}
    tree.metrics["blip"] |= {
        f"smell_{by}_macro_f1": {"value": value, "n": 800, "protocol": "MUSTI test"} for by, value in figures.items()
    }
    tree.write_metrics()
    html, text = page_of(tree)
    assert re.findall(r'<h3 id="(blip-[^"]+)"', html)[-1] == "blip-smell"
    table = html[html.index('id="blip-smell"') :]
    assert re.findall(r'<span class="value">(.*?)</span>', table) == ["55.0 %", "56.0 %", "61.0 %", "49.0 %", "43.0 %"]
    assert "Always the commoner answer" in text


def test_an_older_run_shows_what_it_has(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    old = (
        r"(itm|itc)_(threshold|accuracy|precision|recall|f1)|(itm|itc)_similarity_(related|unrelated)_\w+|.*_image_r10"
    )
    tree.metrics["blip"] = {path: m for path, m in tree.metrics["blip"].items() if re.fullmatch(old, path)}
    tree.write_metrics()
    html, text = page_of(tree)
    assert re.findall(r'<h3 id="(blip-[^"]+)"', html) == [
        "blip-decisions",
        "blip-histograms",
        "blip-scores",
        "blip-retrieval",
    ]
    assert "honest test" not in html and "precision is 1" not in html and "95.0 %" in text


@pytest.mark.parametrize("blip", [{}, {"itm_f1": {"value": None, "reason": "there is no test split"}}])
def test_without_figures_it_says_how_to_get_them(make_tree: Callable[..., Any], blip: dict[str, Any]) -> None:
    tree = make_tree()
    tree.metrics["blip"] = blip
    tree.write_metrics()
    (tree.workspace.directory("blip") / "histograms.json").unlink()
    html, text = page_of(tree)
    assert "No BLIP figure is available; run: make blip evaluation" in html and "<h3" not in html
    assert "## BLIP\n" not in text and ("there is no test split" in text) == bool(blip)


def test_what_nobody_foresaw_has_a_table_of_its_own() -> None:
    section = blip_section(facts({"blip": {"new_figure": 0.5, "text_to_image_r1": 0.25}}))
    assert [table.id for table in section.tables] == ["blip-retrieval", "blip-others"]
    assert texts(section.tables[-1]) == {"New figure": ["0.500"]}


def test_names_and_protocols_from_outside_are_escaped(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    evil = '<script>alert("x")</script> | a *b*'
    entry = {"value": 0.1, "n": 5, "ci95": [0.0, 0.2], "protocol": evil}
    for path in (
        f"itm_hard_accuracy/{evil}",
        "itm_hard_f1",
        f"smell_{evil}_macro_f1",
        f"caption_{evil}",
        f"new {evil}",
    ):
        tree.metrics["blip"][path] = entry
    tree.write_metrics()
    html, text = page_of(tree)
    assert "<script" not in html and "<script" not in text
    assert html.count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;") >= 5 and "\\*b\\*" in text


def test_the_tables_of_the_section_are_in_the_markdown_report(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    _, text = page_of(tree)
    section = blip_section(facts(tree.metrics))
    assert section.decisions is not None
    for table in (section.decisions, *section.tables):
        assert f"## {table.title}" in text and markdown(table).rstrip() in text
