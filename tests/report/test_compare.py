"""Runs beside each other: differences, what is missing, what cannot be compared, and what is refused."""

import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from stages.__main__ import main
from stages.evaluation.headlines import HEADLINES
from stages.report.compare.page import ComparePage, build_page
from stages.report.compare.runs import read_runs
from stages.report.compare.tables import SHOWN
from stages.report.table import Cell, Table
from tests.report.conftest import edit_json
from tests.report.html import Checker, section, visible


def page_of(pair: Any) -> ComparePage:
    return build_page(read_runs(["demo", pair.name], pair.tree.config), pair.tree.config.report)


def row(table: Table, heading: str) -> list[Cell]:
    """The cells after a row's heading."""
    (found,) = [cells for cells in table.rows if cells[0].text.startswith(heading)]
    return found[1:]


def texts(cells: list[Cell]) -> list[str]:
    return [cell.text for cell in cells]


def test_metrics_stand_beside_each_other_with_their_difference(make_pair: Callable[..., Any]) -> None:
    page = page_of(make_pair())
    prior, diffusion = page.painters
    assert prior.head == ["metric", "demo", "other", "other minus demo"]
    first, second, difference = row(prior, "Attribute accuracy ↑")
    assert (first.text, second.text, difference.text) == ("86.0 %", "70.0 %", "-16.0 points")
    assert "n\u00a0500" in first.detail and "84.3\u00a0to\u00a086.1" in first.detail
    assert difference.best and not row(diffusion, "Attribute accuracy ↑")[2].best
    assert texts(row(diffusion, "Attribute accuracy ↑")) == ["81.0 %", "81.0 %", "0.0 points"]
    assert texts(row(prior, "BLIP ITC cosine")) == ["0.410", "0.410", "0.000"]
    assert "Not paired" in page.how and "the intervals do not overlap" in page.summary[0]
    assert page.others[0].title == "Prior, captions shuffled"


def test_a_difference_within_the_intervals_is_not_bold(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    pair.metrics["systems"]["prior"]["attribute_accuracy"] |= {"value": 0.85, "ci95": [0.82, 0.88]}
    pair.write_metrics()
    page = page_of(pair)
    difference = row(page.painters[0], "Attribute accuracy ↑")[2]
    assert difference.text == "-1.0 points" and not difference.best
    assert "the intervals overlap" in page.summary[0]


def test_every_headline_metric_is_compared() -> None:
    assert set(HEADLINES) <= set(SHOWN)


def test_the_page_is_whole_and_fetches_nothing(make_pair: Callable[..., Any]) -> None:
    folder = make_pair().compare()
    html, text = (folder / "index.html").read_text(), (folder / "compare.md").read_text()
    checked = Checker(html)
    assert checked.open == [] and len(checked.ids) == len(set(checked.ids))
    assert checked.loads and all(address.startswith("data:image/") for address in checked.loads)
    assert all(link[1:] in checked.ids for link in checked.links) and "script" not in checked.tags
    labels = re.findall(r"<figcaption>(.*?)</figcaption>", section(html, "pictures"))
    assert labels[:5] == ["Prior: demo", "Prior: other", "Diffusion: demo", "Diffusion: other", "Real"]
    assert "| Attribute accuracy ↑ \\[" not in text and "**\\-16.0 points**" in text
    assert "| prior.max\\_steps | 900 | 400 |" in text
    assert sorted(path.name for path in folder.iterdir()) == ["compare.md", "index.html"]


def test_only_settings_that_differ_are_listed(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    edit_json(pair.other / "vqvae" / "manifest.json", config={"max_steps": 900, "ema": {"decay": 0.99}}, seed=3)
    table = page_of(pair).settings
    listed = {cells[0].text: texts(cells[1:]) for cells in table.rows}
    assert listed == {
        "vqvae.lr": ["0.001", "–"],
        "vqvae.ema.decay": ["–", "0.99"],
        "vqvae.seed": ["0", "3"],
        "prior.max_steps": ["900", "400"],
    }
    assert table.notes == ["there was no such setting when the stage was run"]


def test_what_was_not_run_says_so(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    for stage in ("evaluation", "latents"):
        shutil.rmtree(pair.other / stage)
    page = page_of(pair)
    assert texts(row(page.painters[0], "Attribute accuracy ↑")) == ["86.0 %", "not available", "–"]
    reason = "'other': the stage 'evaluation' has not been run; run: make evaluation"
    assert reason in page.painters[0].notes and reason in page.costs.notes and reason in page.summary[0]
    assert texts(row(page.costs, "latents"))[:3] == ["8.0 s", "not available", "1.40 GiB"]
    assert page.grid == [] and page.grid_remark == "No evaluated pictures are published by other; run: make evaluation"
    assert "latents in 'other'" in page.settings.remark
    html = (pair.compare() / "index.html").read_text()
    assert page.grid_remark in visible(section(html, "pictures"))


def test_why_a_section_is_empty_is_said_of_its_run(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    pair.metrics["vqvae"] = {"reason": "it was published without table.json"}
    pair.write_metrics()
    run = read_runs(["demo", "other"], pair.tree.config)[1]
    assert run.measured("vqvae", "psnr_db").reason == "'other': it was published without table.json"


def test_runs_without_any_figure_are_still_a_page(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    for run in (pair.other, pair.tree.workspace.root):
        shutil.rmtree(run / "evaluation")
    said = visible((pair.compare() / "index.html").read_text())
    assert "No run has scored its pictures" in said and "attribute accuracy is not available" in said


def test_costs_say_what_was_shared(make_pair: Callable[..., Any]) -> None:
    table = page_of(make_pair()).costs
    assert table.head[:3] == ["stage", "wall time: demo", "wall time: other"]
    assert texts(row(table, "prior"))[:2] == ["2 min 51 s", "80.0 s"]
    (note,) = row(table, "vqvae")[1].notes
    assert table.notes[note - 1] == "shared with the run 'demo', which made it"
    assert row(table, "prior")[1].notes == () and row(table, "data")[1].notes == ()


def test_prompts_in_common_are_shown_where_the_lists_differ(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    path = pair.other / "evaluation" / "pictures" / "records.json"
    records = json.loads(path.read_text())
    kept = records[3]["prompt"]
    path.write_text(json.dumps([r | ({} if r["prompt"] == kept else {"prompt": "another"}) for r in records[::-1]]))
    page = page_of(pair)
    assert [grid_row.prompt for grid_row in page.grid] == [kept]
    assert page.grid_columns == ["Prior: demo", "Prior: other", "Diffusion: demo", "Diffusion: other"]
    assert "demo and other were not evaluated on the same prompts with the same seeds." in page.summary
    assert texts(row(page.alike, "Prompts"))[2] == "no" and texts(row(page.alike, "Split"))[2] == "yes"


def test_another_seed_is_not_the_same(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    path = pair.other / "evaluation" / "pictures" / "records.json"
    path.write_text(json.dumps([record | {"seed": 7} for record in json.loads(path.read_text())]))
    page = page_of(pair)
    assert page.grid[0].seed == "10000, 7" and texts(row(page.alike, "Seed of")) == ["10000", "7", "no"]


def test_another_judge_and_a_stale_evaluation_are_said(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    (pair.tree.workspace.root / "evaluation" / "judge.safetensors").write_bytes(b"one")
    (pair.other / "evaluation" / "judge.safetensors").write_bytes(b"other")
    edit_json(pair.other / "evaluation" / "manifest.json", inputs={"prior": "0" * 64})
    page = page_of(pair)
    assert texts(row(page.alike, "Judge"))[2] == "no"
    assert any("are not measured by one measure" in sentence for sentence in page.summary)
    assert "the evaluation of 'other' is of another 'prior' than the one that is there now" in page.alike.remark


def test_a_run_is_compared_with_its_own_data_set(make_pair: Callable[..., Any]) -> None:
    """Which need not be the one that the config names."""
    pair = make_pair()
    datasets = pair.tree.workspace.directory("data").parent
    (datasets / "scenes").rename(datasets / "renamed")
    (run, _) = read_runs(["demo", "other"], pair.tree.config)
    assert run.facts.directories["data"] == datasets / "renamed"
    edit_json(datasets / "renamed" / "manifest.json", created="later")
    (run, _) = read_runs(["demo", "other"], pair.tree.config)
    assert "data" not in run.facts.manifests
    assert run.why_missing("data") == "the data set that 'demo' was made from is no longer there as it was"


def test_curves_that_differ_are_drawn_over_each_other(make_pair: Callable[..., Any]) -> None:
    page = page_of(make_pair())
    assert [group.title for group in page.curves] == ["prior top", "prior bottom"]
    assert re.fullmatch(r"loss; demo: val \S+ at step 800; other: val \S+ at step 800", page.curves[0].plots[0].label)
    assert page.curves_remark == "Not drawn: the same in every run that has them: blip, vqvae, diffusion."


def test_text_from_outside_is_escaped(make_pair: Callable[..., Any]) -> None:
    evil = '<script>alert("x")<img src=x onerror=alert(1)> | $a_b$ *b* [c](d)'
    pair = make_pair(other="_<i>$x$")
    edit_json(pair.other / "prior" / "manifest.json", config={"max_steps": evil}, device=evil)
    for folder in (pair.other, pair.tree.workspace.root):
        path = folder / "evaluation" / "pictures" / "records.json"
        path.write_text(json.dumps([record | {"prompt": evil} for record in json.loads(path.read_text())]))
    pair.metrics["systems"]["prior"]["lpips"]["reason"] = evil
    pair.write_metrics()
    folder = pair.compare()
    html, text = (folder / "index.html").read_text(), (folder / "compare.md").read_text()
    checked = Checker(html)
    assert not {"script"} & set(checked.tags) and "x" not in checked.loads and checked.open == []
    assert "<i>$" not in html and "&lt;script&gt;alert(&#34;x&#34;)" in html
    assert "<script" not in text and "<img" not in text and "<i>" not in text and "\\*b\\*" in text


def run_compare(pair: Any, *names: str) -> int:
    config = pair.tree.config
    return main(["compare", *names, "--run", "any", "--checkpoints", config.checkpoints, "--datasets", config.datasets])


def test_the_command_says_table_and_place(make_pair: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    pair = make_pair()
    assert run_compare(pair, "other", "demo") == 0
    assert re.search(r"Attribute accuracy ↑ +70\.0 % \(.*\) +86\.0 % \(.*\) +\+16\.0 points\n", caplog.text)
    page = pair.other.parent / "compare-other-demo" / "index.html"
    assert page.is_file() and str(page) in caplog.text
    assert run_compare(pair, "other", "demo") == 0  # the page's own folder is not taken for a run


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "name 2 to 8 runs"),
        (["demo"], "name 2 to 8 runs"),
        (["demo", "demo"], "the run 'demo' is named twice"),
        (["demo", "nix"], "there is no run 'nix'"),
        (["demo", "../demo"], "there is no run '../demo'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    make_pair: Callable[..., Any], capsys: pytest.CaptureFixture[str], names: list[str], says: str
) -> None:
    pair = make_pair()
    assert run_compare(pair, *names) == 2
    said = capsys.readouterr().err
    assert says in said and "there are: demo, other" in said and said.count("\n") == 1
