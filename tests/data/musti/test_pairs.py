"""Reading MUSTI files: both shapes, what is unknown, repeated or in conflict, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.config.musti import CaptionField, Labels, MustiConfig
from stages.data.musti.dropped import Dropped
from stages.data.musti.pairs import Pair, caption_of, choose_pairs, read_pairs
from stages.errors import StageError


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image": f"http://museum.example/{number}/0000174.jpg",
        "language": "en",
        "subtask1_label": "YES",
        "subtask2_labels": ["fish"],
        "text": f"Passage {number} of a book.",
        "title": f"Still life {number}",
    } | changes


def read(tmp_path: Path, content: Any, split: str = "train") -> list[Pair]:
    path = tmp_path / f"musti-{split}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_pairs(str(path), split)


def choose(pairs: list[Pair], keep_splits_apart: bool = False) -> tuple[list[int], dict[str, int]]:
    dropped = Dropped()
    chosen = choose_pairs(pairs, ("en", "de"), keep_splits_apart, dropped)
    return [pair.id for pair in chosen], dict(dropped.counts)


def test_both_shapes_are_read(tmp_path: Path) -> None:
    records = [record(7), record(8, language="it", subtask1_label="NO", subtask2_labels=[])]
    pairs = read(tmp_path, {"pairs": records})
    assert pairs == read(tmp_path, records) == read(tmp_path, "\ufeff" + json.dumps(records))
    assert pairs[1].place.endswith("musti-train.json, record 2") and pairs[1].split == "train"
    assert pairs[0].fields == {
        "musti_id": 7, "language": "en", "musti_title": "Still life 7", "text": "Passage 7 of a book.",
        "subtask1_label": "YES", "subtask2_labels": ["fish"], "url": "http://museum.example/7/0000174.jpg",
    }  # fmt: skip
    test = [{key: value for key, value in record(1).items() if not key.startswith("subtask")}]
    assert read(tmp_path, test, "test")[0].label == "" and read(tmp_path, test, "test")[0].split == "test"


def test_every_spelling_of_unknown_is_empty(tmp_path: Path) -> None:
    spellings = ["nan", "", " \n", "NaN", None, float("nan")]
    pairs = read(tmp_path, [record(number, title=title) for number, title in enumerate(spellings)])
    assert [pair.title for pair in pairs] == [""] * 6
    assert read(tmp_path, [record(1, title="Nan with a fan")])[0].title == "Nan with a fan"


def test_languages_are_chosen(tmp_path: Path) -> None:
    pairs = read(tmp_path, [record(n, language=language) for n, language in enumerate(("en", "de", "fr", "it", "en"))])
    assert choose(pairs) == ([0, 1, 4], {"language not chosen": 2})


def test_repeated_pairs_are_used_once_and_conflicts_told(tmp_path: Path) -> None:
    same = {"image": "http://m.example/1.jpg", "text": "the same"}
    records = [
        record(0, **same), record(1, **same), record(2, **same, subtask1_label="NO"), record(3, **same, title="other"),
        record(4, **same | {"text": "another"}), record(5, **same | {"image": "http://m.example/2.jpg"}),
    ]  # fmt: skip
    assert choose(read(tmp_path, records)) == ([0, 4, 5], {"repeated": 2, "repeated with another label": 1})


def test_a_title_or_label_that_only_a_repeated_pair_has_is_kept(tmp_path: Path) -> None:
    same = {"image": "http://m.example/1.jpg", "text": "the same"}
    records = [record(0, **same, title="nan", subtask1_label=""), record(1, **same), record(2, **same, title="late")]
    dropped = Dropped()
    (pair,) = choose_pairs(read(tmp_path, records), ("en",), False, dropped)
    assert (pair.id, pair.title, pair.label) == (0, "Still life 1", "YES")
    assert dict(dropped.counts) == {"repeated": 2}


def test_pairs_without_a_text_are_told_apart_by_their_title(tmp_path: Path) -> None:
    image = {"image": "http://m.example/1.jpg", "text": "nan"}
    records = [record(0, **image), record(1, **image), record(2, **image, title="Still life 0")]
    assert choose(read(tmp_path, records)) == ([0, 1], {"repeated": 1})


def test_a_pair_of_both_files_is_used_once_unless_the_splits_are_kept(tmp_path: Path) -> None:
    pairs = read(tmp_path, [record(1)]) + read(tmp_path, [record(1, id=2, subtask1_label="")], "test")
    assert choose(pairs) == ([1], {"repeated": 1})
    assert choose(pairs, keep_splits_apart=True) == ([1, 2], {})


@pytest.mark.parametrize(
    ("caption", "labels", "changes", "expected"),
    [
        ("title", "related", {}, "A Ship"),
        ("title", "related", {"label": "NO"}, "A Ship"),
        ("title", "related", {"title": " A\n ship "}, "A ship"),
        ("title", "related", {"title": ""}, "no title"),
        ("title", "related", {"title": "..."}, "no title"),
        ("text", "related", {}, "It smelt of tar."),
        ("text", "related", {"text": ""}, "no text"),
        ("text", "related", {"label": "NO"}, "text not labelled as related"),
        ("text", "related", {"label": ""}, "text not labelled as related"),
        ("text", "not-unrelated", {"label": ""}, "It smelt of tar."),
        ("text", "not-unrelated", {"label": "NO"}, "text not labelled as related"),
        ("text", "all", {"label": "NO"}, "It smelt of tar."),
        ("both", "related", {}, "A Ship. It smelt of tar."),
        ("both", "related", {"title": "A Ship."}, "A Ship. It smelt of tar."),
        ("both", "related", {"title": ""}, "It smelt of tar."),
        ("both", "related", {"text": ""}, "A Ship"),
        ("both", "related", {"label": "NO"}, "A Ship"),
        ("both", "related", {"label": "NO", "title": ""}, "no title or text"),
    ],
)
def test_captions(caption: CaptionField, labels: Labels, changes: dict[str, str], expected: str) -> None:
    known = {"label": "YES", "text": "It smelt of tar.", "title": "A Ship"} | changes
    pair = Pair(1, "http://m.example/1.jpg", "en", smells=(), split="train", place="here", **known)
    dropped = Dropped()
    found = caption_of(pair, caption, labels, dropped)
    if found is None:
        assert dict(dropped.counts) == {expected: 1}
        assert dropped.line(expected) == f"1 pair not used: {expected} (first: here)"
    else:
        assert found == expected and not dropped.counts


BAD: dict[str, tuple[Any, str]] = {
    "not JSON": ("{'pairs': ", "musti-train.json: not JSON"),
    "another shape": ({"records": []}, r'musti-train.json: expected \{"pairs"'),
    "no records": ({"pairs": []}, "musti-train.json has no records"),
    "not an object": ([record(1), 7], "record 2: expected a JSON object, got 7"),
    "no image": ([{k: v for k, v in record(1).items() if k != "image"}], "record 1: there is no 'image'"),
    "no title": ([{k: v for k, v in record(1).items() if k != "title"}], "record 1: there is no 'title'"),
    "empty image": ([record(1, image="nan")], "record 1: 'image' must be the url of a picture, got 'nan'"),
    "number for an image": ([record(1, image=3)], "record 1: 'image' must be text, got 3"),
    "other language": ([record(1, language="nl")], "record 1: 'language' must be one of en, de, fr, it, got 'nl'"),
    "list for a language": ([record(1, language=["en"])], "record 1: 'language' must be one of"),
    "word for an id": ([record(1, id="a")], "record 1: 'id' must be a whole number, got 'a'"),
    "other label": ([record(1, subtask1_label="PERHAPS")], "record 1: 'subtask1_label' must be YES, NO or empty"),
    "other smells": ([record(1, subtask2_labels="fish")], "record 1: 'subtask2_labels' must be a list of words"),
    "list for a text": ([record(1, text=["a"])], "record 1: 'text' must be text"),
    "half a character": (
        '[{"id": 1, "image": "x", "language": "en", "text": "", "title": "\\ud800"}]',
        "record 1: 'title'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_breaks_the_layout_is_named(case: str, tmp_path: Path) -> None:
    content, message = BAD[case]
    with pytest.raises(StageError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"data.musti.test: there is no file .*none.json"):
        read_pairs(str(tmp_path / "none.json"), "test")
    (tmp_path / "latin.json").write_bytes(b'[{"title": "caf\xe9"}]')
    with pytest.raises(StageError, match="not JSON in UTF-8"):
        read_pairs(str(tmp_path / "latin.json"), "test")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"languages": ()}, "languages"),
        ({"languages": ("en", "en")}, "languages"),
        ({"cache": ""}, "cache"),
        ({"max_missing": 1.5}, "max_missing"),
        ({"connections": 0}, "connections"),
        ({"connections_per_host": 0}, "connections_per_host"),
        ({"retries": -1}, "retries"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"deadline_s": float("inf")}, "deadline_s"),
        ({"max_pixels": 10**9}, "max_pixels"),
        ({"max_bytes": 0}, "max_bytes"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.musti\.{key}"):
        MustiConfig(**settings)
