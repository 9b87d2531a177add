"""The page as it is published: whole, safe, self-contained, right when things are missing."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stages.config.report import ReportConfig
from stages.data import load_dataset
from stages.data.prepared import PreparedWriter
from stages.errors import StageError
from stages.evaluation.compared import COMPARED
from stages.report import stage
from stages.report.facts import read_facts
from stages.report.page import build_page
from stages.report.sections import prior_tables
from stages.report.table import Cell, Table, markdown
from tests.report.html import Checker, section, visible


def published(tree: Any) -> tuple[str, str]:
    """Runs the stage; the page and its Markdown."""
    stage.run(tree.config, tree.workspace)
    folder = tree.workspace.directory("report")
    return (folder / "index.html").read_text(), (folder / "report.md").read_text()


def test_a_whole_run(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    html, text = published(tree)
    checked = Checker(html)
    assert checked.open == [] and len(checked.ids) == len(set(checked.ids))
    assert checked.tags.count("img") > 12 * 4
    said = visible(html)
    for wanted in ("The prior beats the diffusion baseline", "86.0 %", "ROUGE-1 F1", "0123456789abcdef", "CycleGAN"):
        assert wanted in said
    for caption in tree.captions:
        assert caption in said
    assert "| Attribute accuracy ↑ \\[" not in text and "**86.0 %**" in text and "CycleGAN" in text
    figures = tree.workspace.manifest("report")["figures"]
    assert figures["prompts"] == 12 and figures["bytes"] == len(html.encode()) < 15e6


def test_nothing_is_fetched(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    html, _ = published(tree)
    checked = Checker(html)
    assert checked.loads and all(address.startswith("data:image/") for address in checked.loads)
    beside = [address for address in checked.links if not address.startswith("#")]
    assert all((tree.workspace.directory("report") / address).is_file() for address in beside)
    assert all(address[1:] in checked.ids for address in checked.links if address not in beside)
    assert not {"script", "link", "iframe", "object"} & set(checked.tags)
    assert "@import" not in html and "url(" not in html


def test_text_from_outside_is_escaped(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    evil = '<script>alert("x")</script><img src=x onerror=alert(1)> | a *b* [c](d)'
    records = tree.workspace.directory("data") / "records.jsonl"
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    records.write_text("".join(json.dumps(line | {"title": evil, "group": evil}) + "\n" for line in lines))
    pictures = tree.workspace.directory("evaluation") / "pictures" / "records.json"
    pictures.write_text(json.dumps([record | {"prompt": evil} for record in json.loads(pictures.read_text())]))
    tree.metrics["systems"]["prior"]["lpips"]["reason"] = evil
    tree.metrics["systems"][evil] = {"bleu4": {"value": 0.1, "n": 1, "protocol": evil}}
    tree.write_metrics()
    html, text = published(tree)
    checked = Checker(html)
    assert "script" not in checked.tags and "x" not in checked.loads
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in html
    assert "<script" not in text and "<img" not in text and "\\*b\\*" in text


def test_missing_figures_say_why(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    html, text = published(tree)
    reason = "the ImageNet weights of the backbone &#39;alex&#39; are not at"
    row = re.search(r"<tr>\s*<th scope=\"row\">LPIPS .*?</tr>", html, flags=re.S)
    assert row and row.group().count("not available") == len(COMPARED)
    assert reason in html[: html.index('id="absent"')] and reason in html[html.index('id="absent"') :]
    assert "not available" in text and "ImageNet weights" in text


def test_a_data_set_without_attributes(make_tree: Callable[..., Any]) -> None:
    html, _ = published(make_tree(attributes=False, itc=(0.31, 0.44)))
    said = visible(html)
    assert "The diffusion baseline beats the prior" in said and "BLIP ITC cosine of 0.440" in said
    assert "this data set has no true attributes" in said
    assert "No figures by attribute" in said and "The judge on real pictures" in said
    assert "True attributes" not in said


def test_bits_per_code_share_their_footnote(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    (table,) = prior_tables(read_facts(tree.workspace).evaluation)
    assert [cell.text for cell in table.rows[0]][1] == "2.310 bits" and "n\u00a0500" in table.rows[0][1].detail
    assert table.notes == ["mean over pairs, in bits a code"]


def test_a_section_that_holds_a_reason_alone_is_said(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    tree.metrics["prior"] = {"reason": "it was published without table.json"}
    tree.write_metrics()
    html, text = published(tree)
    for page in (visible(html), text):
        assert "section prior" in page and "published without table.json" in page
    assert "No figures of the prior are published; run: make prior" in visible(html)


def test_a_stage_shows_its_own_table_before_any_evaluation(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    shutil.rmtree(tree.workspace.directory("evaluation"))
    table = {"psnr_db": {"value": 26.5, "n": 40, "ci95": [26.0, 27.0], "protocol": "of the mean error"}}
    (tree.workspace.directory("vqvae") / "table.json").write_text(json.dumps(table))
    assert read_facts(tree.workspace).evaluation.section("vqvae")["psnr_db"].ci95 == (26.0, 27.0)
    assert "26.50 dB" in visible(published(tree)[0])


def test_the_data_card_is_on_the_page(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    html, text = published(tree)
    card = section(html, "data")
    said = visible(card)
    assert "24 pictures of 64 x 64 pixels, 24 captions" in said and "True attributes" in said
    assert "ship 4, fruit 4, vase 4, fish 4, candle 4, windmill 4" in said and "Nothing was dropped" in said
    for title in ("Splits", "Caption lengths", "Vocabulary", "Most common captions", "Duplicates and splits"):
        assert title in said and f"## {title}\n" in text
    assert "| subject | 24 | ship 4, fruit 4" in text and "## Data card\n\nData set 'scenes'" in text
    (sheet,) = re.findall(r'<div class="scroll sheet".*?<img src="(data:image/[^"]+)"', card)
    assert len(sheet) < 400_000
    captions = re.findall(r"<li><bdi>(.*?)</bdi></li>", card)
    records = load_dataset(tree.workspace.directory("data")).split("train").captions
    assert captions == records and len(records) > 3


def test_a_contact_sheet_of_noise_stays_small(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    folder = tree.workspace.directory("data")
    shutil.rmtree(folder)
    folder.mkdir()
    writer = PreparedWriter(folder, 128)
    writer.allocate(48)[:] = np.random.default_rng(0).integers(0, 256, (48, 128, 128, 3), dtype=np.uint8)
    for row in range(48):
        writer.add(row, "<script>alert(1)</script>", file_name=str(row), split="train", group=str(row))
    writer.close()
    tree.manifest("data", {})
    html, _ = published(tree)
    card = section(html, "data")
    (sheet,) = re.findall(r'<div class="scroll sheet".*?<img src="(data:image/[^"]+)"', card)
    assert sheet.startswith("data:image/jpeg") and len(sheet) < 400_000
    assert "script" not in Checker(html).tags
    assert card.count("&lt;script&gt;") == 48 + 1 + 2 * 8  # the sheet's, the most common one, examples twice each


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        (["latents"], "No latents are published; run: make latents"),
        (["evaluation"], "No evaluated pictures are published; run: make evaluation"),
        (["data"], "The data set is not there; run: make data"),
        (["blip", "vqvae", "prior", "diffusion"], "No stage has published training curves."),
        (["data", "blip", "vqvae", "codes", "prior", "diffusion", "evaluation", "latents"], "No stage has been run."),
    ],
)
def test_absent_stages_are_said_in_one_line(make_tree: Callable[..., Any], stages: list[str], says: str) -> None:
    tree = make_tree()
    for name in stages:
        shutil.rmtree(tree.workspace.directory(name))
    html, _ = published(tree)
    assert says in visible(html)
    assert f"it has not been run; run: make {stages[0]}" in visible(html)
    assert Checker(html).open == []


def test_the_interactive_latents_are_linked_where_they_are(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    html, _ = published(tree)
    assert 'href="../latents/interactive.html"' in section(html, "latents")
    (tree.workspace.directory("latents") / "interactive.html").unlink()
    assert "interactive" not in section(published(tree)[0], "latents")


def test_pictures_are_the_evaluated_ones_side_by_side(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    html, _ = published(tree)
    start = html.index('<ol class="grid">')
    grid = html[start : html.index("</ol>", start)]
    labels = re.findall(r"<figcaption>(.*?)</figcaption>", grid)
    titles = ["Prior", "Diffusion", "Prior, no caption", "Nearest caption", "Random train picture"]
    assert labels == [*titles, "Mean train picture", "Reconstruction", "Real"] * 12
    assert len(set(re.findall(r'src="([^"]+)"', grid))) == 12 * 8


def test_the_size_limit_shortens_the_grid_and_then_refuses(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    html, _ = published(tree)
    start = html.index('<ol class="grid">')
    grid = len(html[start : html.index("</ol>", start)])
    limit = (len(html) - grid / 3) / 1e6
    small = dataclasses.replace(tree.config, report=ReportConfig(max_megabytes=limit))
    stage.run(small, tree.workspace)
    assert (tree.workspace.directory("report") / "index.html").stat().st_size <= limit * 1e6
    assert tree.workspace.manifest("report")["figures"]["prompts"] == 6
    with pytest.raises(StageError, match=r"report.max_megabytes = 0.05"):
        stage.run(dataclasses.replace(tree.config, report=ReportConfig(max_megabytes=0.05)), tree.workspace)


def test_large_pictures_are_shrunk(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    folder = tree.workspace.directory("evaluation") / "pictures"
    for path in folder.glob("*.npy"):
        np.save(path, np.repeat(np.repeat(np.load(path), 8, 1), 8, 2))  # 512 pixels
    html, _ = published(tree)
    assert 'width="256" height="256"' in html and "data:image/jpeg" in html and len(html) < 6e6


def test_pictures_of_another_length_and_broken_json(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    folder = tree.workspace.directory("evaluation")
    np.save(folder / "pictures" / "diffusion.npy", np.zeros((3, 8, 8, 3), np.uint8))
    html, _ = published(tree)
    assert "<figcaption>Diffusion</figcaption>" not in html
    (folder / "metrics.json").write_text('{"systems": ')
    with pytest.raises(StageError, match=r"metrics.json cannot be read .* run: make evaluation"):
        published(tree)


def test_markdown_tables_keep_their_columns() -> None:
    table = Table("t", "Title", ["a|b", "c"], [[Cell("x|y\nz"), Cell("1", "2 to 3", (1,), best=True)]], ["note <b>"])
    lines = markdown(table).splitlines()
    assert lines[:3] == ["| a\\|b | c |", "| --- | --- |", "| x\\|y z | **1** (2 to 3) [1] |"]
    assert lines[-1] == "1. note &lt;b&gt;"


@pytest.mark.parametrize(
    ("key", "value"), [("prompts", -1), ("examples", -1), ("picture_size", 8), ("max_megabytes", 0.0)]
)
def test_impossible_settings_are_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"report.{key}"):
        ReportConfig(**{key: value})  # type: ignore[arg-type]


def test_guidance_and_temperature_stand_in_one_table_for_each_score(make_tree: Callable[..., Any]) -> None:
    full = make_tree()
    page = build_page(read_facts(full.workspace), full.config.report, None)
    assert [table.id for table in page.sweep] == ["sweep-attribute_accuracy", "sweep-itm_probability"]
    table = page.sweep[0]
    assert table.head[1:] == ["guidance 1", "guidance 1.5", "guidance 2"]
    assert [row[0].text for row in table.rows] == ["temperature 0.7", "temperature 0.85", "temperature 1"]
    assert [(row[0].text, cell.text) for row in table.rows for cell in row if cell.best] == [
        ("temperature 0.85", "70.0 %")
    ]
    html, _ = published(full)
    assert "do to captions of the split “val”" in visible(html)


def test_a_sweep_that_was_left_out_is_not_shown(make_tree: Callable[..., Any]) -> None:
    full = make_tree()
    full.metrics["sweep"] = {"reason": "evaluation.sweep.prompts is 0"}
    full.write_metrics()
    html, markdown_page = published(full)
    assert "by guidance" not in html + markdown_page


def test_copies_have_their_own_section_with_the_sheet(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    html, text = published(tree)
    copies = section(html, "copying")
    said = visible(copies)
    assert "0.059 in pixels" in said and "Suspiciously near to a train picture, pixels" in said and "0.2 %" in said
    (sheet,) = re.findall(r'<img src="(data:image/[^"]+)" width="400" height="300"', copies)
    assert sheet.startswith("data:image/jpeg") and "Prior: the pictures nearest to a train picture" in said
    assert "Suspiciously near" not in section(html, "results") and "## Distance to train pictures" in text
    shutil.rmtree(tree.workspace.directory("evaluation") / "copying")
    for metrics in tree.metrics["systems"].values():
        del metrics["copied_pixels"], metrics["nearest_train_pixels"]
    tree.write_metrics()
    assert "No pictures have been compared with train pictures" in visible(section(published(tree)[0], "copying"))


def test_scenes_and_confusions_have_their_tables(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    page = build_page(read_facts(tree.workspace), tree.config.report, None)
    scenes, new = page.scenes
    assert [row[0].text for row in scenes.rows] == ["ship", "fruit"] and new.title.endswith("new compositions")
    assert [cell.text for cell in scenes.rows[0]][:3] == ["ship", "76.0 %", "71.0 %"]
    assert [cell.text for cell in new.rows[0]][:3] == ["ship", "66.0 %", "61.0 %"]
    attributes, new = page.attributes
    assert attributes.head[-1] == "Judge, on real pictures" == new.head[-1]
    assert [cell.text for cell in attributes.rows[2]][:2] == ["count", "66.0 %"]
    assert [cell.text for cell in new.rows[2]][:2] == ["count", "56.0 %"]
    assert not any("scene" in row[0].text.lower() for table in page.systems for row in table.rows)
    confused = [[cell.text for cell in row] for row in page.confused.rows]
    assert confused[:3] == [
        ["Prior", "count", "two", "none seen", "19 of 76"],
        ["Prior", "count", "one", "two", "13 of 84"],
        ["Prior", "colour", "red", "blue", "3 of 83"],
    ]
    table = page.confusion["Prior"][0]
    assert table.head == ["asked", "one", "two", "none seen"]
    assert [[cell.text for cell in row] for row in table.rows] == [["one", "69", "13", "2"], ["two", "·", "57", "19"]]
    assert [cell.text for row in table.rows for cell in row if cell.best] == ["69", "57"]
    html, _ = published(tree)
    results = section(html, "results")
    assert ">Likeness to the prompt&#39;s own picture</summary>" in results
    assert results.count(": what was asked for and what is shown, attribute by attribute</summary>") == 2
    bare = make_page_without_attributes(tree)
    assert bare.confusion == {} and not bare.confused.rows and not bare.scenes


def make_page_without_attributes(tree: Any) -> Any:
    """The page of the same run, had its data set no attributes."""
    tree.metrics["confusion"] = {"reason": "the data set has no true attributes"}
    for metrics in tree.metrics["systems"].values():
        for name in [name for name in metrics if "/" in name]:
            del metrics[name]
    tree.write_metrics()
    return build_page(read_facts(tree.workspace), tree.config.report, None)
