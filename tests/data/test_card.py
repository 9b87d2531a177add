"""The data card: its figures counted by hand, its Markdown against hostile captions, its contact sheet."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from stages.config import RunConfig
from stages.config.data import DataConfig, ScenesConfig
from stages.data import PreparedSet, load_dataset, stage
from stages.data.card import card_figures, card_tables, contact_sheet, sheet_records, write_card
from stages.data.card.captions import Spread, caption_words
from stages.data.card.lettering import UNDRAWN, Lettering
from stages.data.card.notes import read_notes
from stages.data.card.pictures import SAMPLED, Duplicates, channel_levels
from stages.data.prepared import PreparedWriter
from stages.errors import StageError
from stages.markdown import escape_markdown
from stages.workspace import Workspace

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b || c \\| d",
    "`code` ``more`` *bold* _x_ ~~no~~ $x^2$",
    "line\nbreak\r\nand\u2028more",
    "ספינה אדומה על הים",
    "\u202eturned around",
    "a red 🚗 and a 👩\u200d👩\u200d👧",
    "[link](javascript:alert(1)) ![img](x)",
    "</td></details><img src=x onerror=alert(1)>",
    "&lt;b&gt; https://example.com :smile: www.example.com",
    "日本の絵",
    "…",
    "1. list",
]
Pair = tuple[int, str, str, str]
"""Row, split, group, caption."""


def prepared(
    directory: Path, pairs: list[Pair], side: int = 16, attributes: dict[int, dict[str, str]] | None = None
) -> PreparedSet:
    """A prepared set whose pictures are noise, but all alike for the same row."""
    directory.mkdir(exist_ok=True)
    writer = PreparedWriter(directory, side)
    images = writer.allocate(1 + max(row for row, *_ in pairs))
    images[:] = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    for row, split, group, caption in pairs:
        own = attributes.get(row) if attributes else None
        writer.add(row, caption, file_name=f"{row}.png", split=split, group=group, attributes=own)
    writer.close({"colour": ["red", "blue", "green"]} if attributes else None)
    return load_dataset(directory)


TINY: list[Pair] = [
    (0, "train", "a", "A red ship"),
    (0, "train", "a", "a red ship, at sea!"),
    (1, "train", "a", "A red ship"),
    (2, "train", "b", "two plums"),
    (3, "val", "c", "A blue ship"),
    (4, "test", "d", "a RED  ship"),
    (5, "test", "e", "plum & plum — plum"),
]


@pytest.fixture()
def tiny(tmp_path: Path) -> PreparedSet:
    """Seven pairs of six pictures in five groups; a red picture in train equals one in test, two differ by a pixel."""
    colours = {0: {"colour": "red"}, 1: {"colour": "red"}, 3: {"colour": "blue"}}
    dataset = prepared(tmp_path / "d", TINY, attributes=colours)
    images = np.load(tmp_path / "d" / "images.npy")
    images[4] = images[0]
    images[2] = images[1]
    images[2, 0, 0, 0] ^= 1
    np.save(tmp_path / "d" / "images.npy", images)
    return load_dataset(dataset.directory)


def rows(dataset: PreparedSet, id: str) -> dict[str, list[str]]:
    """A table of the card by the first cell of its rows."""
    (table,) = [table for table in card_tables(card_figures(dataset)) if table.id == id]
    return {row[0]: row[1:] for row in table.rows}


def test_splits_counted_by_hand(tiny: PreparedSet) -> None:
    figures = card_figures(tiny)
    assert (figures.pairs, figures.pictures, figures.groups, figures.largest_group) == (7, 6, 5, 2)
    assert rows(tiny, "splits") == {
        "train": ["4", "3", "1.33", "2", "2", "–", "–"],
        "val": ["1", "1", "1", "1", "1", "0", "0 of 1 (0.0 %)"],
        "test": ["2", "2", "1", "2", "1", "0", "1 of 2 (50.0 %)"],  # "a RED  ship": case and spacing aside
    }


def test_captions_counted_by_hand(tiny: PreparedSet) -> None:
    captions = card_figures(tiny).captions
    # words: 3 5 3 2 3 3 3; characters: 10 19 10 9 11 11 18; sorted, the 95th percentile lies at place 5.7 of 0..6
    assert dataclasses.astuple(captions.words) == pytest.approx((2, 3, 4.4, 5))
    assert dataclasses.astuple(captions.characters) == pytest.approx((9, 11, 18.7, 19))
    assert captions.per_picture == Spread(1, 1, 1.75, 2)
    assert captions.vocabulary == len({"a", "red", "ship", "at", "sea", "two", "plums", "blue", "plum"})
    assert captions.common == (("A red ship", 2),) and captions.distinct == 6
    assert rows(tiny, "vocabulary")["val"] == ["3", "3", "1 of 3 (33.3 %)", "1 of 3 (33.3 %)", "blue"]
    assert rows(tiny, "vocabulary")["test"] == ["4", "6", "1 of 4 (25.0 %)", "3 of 6 (50.0 %)", "plum"]
    assert rows(tiny, "common") == {"2": ["A red ship"]}


def test_words_keep_what_is_inside_them() -> None:
    assert caption_words("“L'Étang” — still-life, (1890)!") == ["l'étang", "still-life", "1890"]
    assert caption_words("… & ?") == []


def test_equal_pictures_are_told_from_nearly_equal_ones(tiny: PreparedSet) -> None:
    assert card_figures(tiny).duplicates == Duplicates(extra=1, across_splits=1)
    images = np.load(tiny.directory / "images.npy")
    images[2] = images[1]  # both in train
    np.save(tiny.directory / "images.npy", images)
    assert card_figures(load_dataset(tiny.directory)).duplicates == Duplicates(extra=2, across_splits=1)


def test_levels_by_hand() -> None:
    pictures = np.zeros((2, 16, 16, 3), np.uint8)
    pictures[1] = (100, 50, 255)
    levels = channel_levels(pictures)
    assert levels.mean == pytest.approx((50, 25, 127.5)) and levels.std == pytest.approx((50, 25, 127.5))
    assert (levels.pictures, levels.every) == (2, 1)


def test_levels_of_many_pictures_are_sampled_and_said_to_be(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "d", [(row, "train", str(row), "x") for row in range(SAMPLED + 5)])
    table = next(table for table in card_tables(card_figures(dataset)) if table.id == "levels")
    assert f"over {SAMPLED:,} pictures spread evenly" in table.remark
    assert float(table.rows[0][1]) == pytest.approx(127.5, abs=0.5)
    assert channel_levels(np.zeros((1, 256, 256, 3), np.uint8)).every == 4


def test_attributes_are_counted_by_picture(tiny: PreparedSet, tmp_path: Path) -> None:
    assert rows(tiny, "attributes") == {"colour": ["3", "red 2, blue 1, green 0"]}  # the first picture has two pairs
    plain = prepared(tmp_path / "plain", TINY)
    assert "attributes" not in [table.id for table in card_tables(card_figures(plain))]


def test_what_nobody_noted_is_not_claimed(tiny: PreparedSet) -> None:
    found = rows(tiny, "duplicates")
    assert found["near duplicates"] == ["not looked for"] and "splits" not in found
    dropped = next(table for table in card_tables(card_figures(tiny)) if table.id == "dropped")
    assert not dropped.rows and dropped.remark.startswith("Nothing was dropped")


def test_notes_of_the_source_are_shown(tiny: PreparedSet) -> None:
    notes: dict[str, Any] = {"exact_duplicates": 12, "near_duplicates": 1234, "official": True}
    notes["overlap"] = {"groups": {"in train and test": 3}, "titles": "none", "checked": True, "share": 1.0}
    (tiny.directory / "splits.json").write_text(json.dumps(notes))
    (tiny.directory / "dropped.json").write_text(json.dumps({"no title": 1500, "<b>": 1}))
    (tiny.directory / "missing.csv").write_text("url,reason\nhttp://a,HTTP 404\nhttp://b,\nhttp://c,HTTP 404\n")
    found = rows(tiny, "duplicates")
    assert found["near duplicates"] == ["1,234"]
    assert found["pictures that equal an earlier one, pixel by pixel"] == ["12"]  # counted once, by the source
    splits = next(table for table in card_tables(card_figures(tiny)) if table.id == "splits")
    assert "pictures of one group may lie in several" in splits.remark
    assert found["splits"] == ["the source's official ones"] and found["overlap: groups, in train and test"] == ["3"]
    assert found["overlap: titles"] == ["none"] and found["overlap: checked"] == ["yes"]
    assert found["overlap: share"] == ["1.0"]
    assert rows(tiny, "dropped") == {
        "no title": ["1,500"],
        "<b>": ["1"],
        "could not be got: HTTP 404": ["2"],
        "could not be got: no reason noted": ["1"],
    }


def test_broken_notes_are_named(tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text('{"official": ')
    with pytest.raises(StageError, match=r"splits.json: not whole"):
        read_notes(tmp_path)
    (tmp_path / "splits.json").write_text("[1]")
    with pytest.raises(StageError, match=r"splits.json: expected an object, got list"):
        read_notes(tmp_path)


def test_hostile_captions_stay_text(tmp_path: Path) -> None:
    pairs = [(row, "train" if row % 4 else "test", caption, caption) for row, caption in enumerate(HOSTILE * 2)]
    dataset = prepared(tmp_path / "d", pairs)
    (dataset.directory / "dropped.json").write_text(json.dumps({caption: caption for caption in HOSTILE}))
    write_card(dataset, tmp_path, "a|<b>", "<i>")
    text = (tmp_path / "card.md").read_text()
    allowed = {"<details>", "<summary>", "</summary>", "</details>"}
    assert set(re.findall(r"<[^ ].*?>", text)) == allowed and text.count("</details>") == 1
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        columns = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block
    assert "\\`code\\` \\`\\`more\\`\\` \\*bold\\* \\_x\\_ \\~\\~no\\~\\~ \\$x^2\\$" in text
    assert "\u202e" not in text and "\u2028" not in text and "ספינה אדומה על הים" in text and "🚗" in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("1. a", "1\\. a"),
        ("1) a", "1\\) a"),
        ("1.5 of 2.", "1.5 of 2."),
        ("- a - b", "\\- a - b"),
        ("https://a.b at 10:30", "https\\://a.b at 10:30"),
        ("www.a.b", "www\\.a.b"),
        ("a :+1: b", "a \\:+1: b"),
        ("a\x00\tb\u2066", "a b"),
        ("&amp; <b>", "&amp;amp; &lt;b&gt;"),
        ("![a](b)", "!\\[a\\](b)"),
    ],
)
def test_markdown_is_escaped(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


@pytest.mark.parametrize("side", [16, 64, 1024])
def test_a_sheet_of_pictures_of_any_size(side: int, tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "d", [(row, "train", str(row), text) for row, text in enumerate(HOSTILE)], side)
    write_card(dataset, tmp_path, "d", "folder")
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width == 8 * 140 + 12 and 2 * 142 < sheet.height < 2 * 240
    assert (tmp_path / "contact_sheet.png").stat().st_size < 1.5e6


def test_a_sheet_of_noise_is_written_in_fewer_colours(tmp_path: Path) -> None:
    write_card(prepared(tmp_path / "d", [(row, "train", str(row), "x") for row in range(48)], 128), tmp_path, "d", "f")
    assert (tmp_path / "contact_sheet.png").stat().st_size < 1.5e6
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.mode == "P"


def test_the_sheet_shows_pictures_and_captions(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "d", [(row, "train", str(row), "caption") for row in range(9)])
    records = sheet_records(dataset)
    sheet = contact_sheet(dataset, records)
    assert np.array_equal(np.asarray(sheet)[26 : 26 + 128 : 8, 12 : 12 + 128 : 8], dataset.images[0])
    assert np.array_equal(np.asarray(sheet)[26 : 26 + 128 : 8, 152 : 152 + 128 : 8], dataset.images[1])
    other = [dataclasses.replace(records[0], caption="another"), *records[1:]]
    left, top, right, bottom = ImageChops.difference(sheet, contact_sheet(dataset, other)).getbbox() or (0, 0, 0, 0)
    assert 12 <= left < right <= 140 and 26 + 128 < top < bottom < 26 + 128 + 24


def test_the_sheet_is_spread_over_the_pictures_of_train(tmp_path: Path) -> None:
    pairs = [(row // 2, "train", str(row // 2), str(row)) for row in range(400)] + [(200, "test", "t", "t")]
    records = sheet_records(prepared(tmp_path / "d", pairs))
    shown = [record.image for record in records]
    assert len(set(shown)) == 48 and shown == sorted(shown) and (shown[0], shown[-1]) == (0, 199)
    assert max(np.diff(shown)) - min(np.diff(shown)) <= 1 and records[1].caption == str(2 * shown[1])


def test_a_set_of_one_picture(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "d", [(0, "test", "g", "…")])
    figures = write_card(dataset, tmp_path, "one", "folder")
    assert figures.captions.words == Spread(0, 0, 0, 0) and figures.captions.vocabulary == 0
    assert rows(dataset, "splits") == {"test": ["1", "1", "1", "1", "1", "–", "–"]}
    text = (tmp_path / "card.md").read_text()
    assert "1 picture of 16 x 16 pixels, 1 caption of" in text and "1 picture spread evenly over 'test'" in text
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width == 152


def test_captions_are_broken_and_shortened_to_the_column() -> None:
    lettering = Lettering(12, 128, 3)
    for caption in ("a red ship on a stormy sea " * 5, "x" * 200, "שלום עולם " * 30):
        font, lines = lettering.fit(caption)
        assert len(lines) == 3 and lines[-1].endswith("…")
        assert all(font.getlength(line) <= 128 for line in lines)
    assert lettering.fit("a red\nship").lines == ["a red ship"]
    assert lettering.fit("").lines == [""]


def test_letters_that_no_font_has_are_left_out_visibly() -> None:
    private = "\U000f0000"
    lettering = Lettering(12, 400, 2)
    assert lettering.fit(f"a {private}{private} {private} ship").lines == [f"a {UNDRAWN} ship"]
    assert lettering.fit("\u202ea\u200d ship").lines == ["a ship"]
    assert lettering.fit("кораблик Ærø").lines == ["кораблик Ærø"]


def test_letters_from_right_to_left_need_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.data.card.lettering._shapes_text", lambda: False)
    assert Lettering(12, 400, 2).fit("שלום ship").lines == [f"{UNDRAWN} ship"]


def test_the_stage_leaves_the_card_beside_the_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = DataConfig(name="s", image_size=16, scenes=ScenesConfig(train=8, val=6, test=6, compositions=6))
    config = RunConfig(run="r", checkpoints=str(tmp_path / "c"), datasets=str(tmp_path / "d"), data=data)
    with caplog.at_level("INFO"):
        stage.run(config, Workspace(config))
    assert str(tmp_path / "d" / "s" / "card.md") in caplog.text
    assert (tmp_path / "d" / "s" / "card.md").read_text().startswith("# Data card: s\n\nData set 's', source 'scenes'")
    assert {"card.md", "contact_sheet.png"} <= set(Workspace(config).manifest("data")["files"])
