"""Reads the JSON files of the MUSTI task: one (picture url, text, title) pair a record, checked, each used once."""

import dataclasses
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from stages.config.musti import CaptionField, Labels, Language
from stages.data.musti.dropped import Dropped
from stages.errors import StageError

_LANGUAGES = get_args(Language)
_LABELS = ("YES", "NO", "")


@dataclass(frozen=True)
class Pair:
    """One record of a MUSTI file, texts as they are there."""

    id: int
    url: str
    """Of the picture; identifies it."""
    language: str
    label: str
    """`subtask1_label`: whether picture and text speak of the same smell: YES, NO, or empty where it is not given."""
    smells: tuple[str, ...]
    """`subtask2_labels`: what smells in both."""
    text: str
    """Passage of a book; mostly does not describe the picture. Empty where unknown."""
    title: str
    """Of the picture. Empty where unknown."""
    split: str
    """`train` or `test`: the file it is from."""
    place: str
    """File and record number (from 1), for messages."""

    @property
    def fields(self) -> dict[str, Any]:
        """What a prepared set keeps of the record besides the caption."""
        return {
            "musti_id": self.id,
            "language": self.language,
            "musti_title": self.title,
            "text": self.text,
            "subtask1_label": self.label,
            "subtask2_labels": list(self.smells),
            "url": self.url,
        }


def read_pairs(path: str, split: str) -> list[Pair]:
    """Every record of a MUSTI file: `{"pairs": [...]}` or a bare list.

    Raises:
        StageError: no such file, not in one of the two shapes, or a record that breaks the layout.
    """
    if not Path(path).is_file():
        raise StageError(f"data.musti.{split}: there is no file {path}: name the JSON file that the task hands out")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise StageError(f"{path}: not JSON in UTF-8 ({error}): get the file again") from None
    records = content.get("pairs") if isinstance(content, dict) else content
    if not isinstance(records, list):
        raise StageError(f'{path}: expected {{"pairs": [...]}} or a list of records: name a file of the MUSTI task')
    if not records:
        raise StageError(f"{path} has no records: get the file again")
    return [_pair(record, split, f"{path}, record {number}") for number, record in enumerate(records, start=1)]


def choose_pairs(
    pairs: Sequence[Pair], languages: Collection[str], keep_splits_apart: bool, dropped: Dropped
) -> list[Pair]:
    """The pairs in the languages, each (url, text) once, or (url, title) where there is no text: the first of several,
    with the title or label of a later one where it has none.

    Args:
        keep_splits_apart: whether a pair of the train file may come again in the test file.
    """
    first: dict[tuple[str, str, str, str], Pair] = {}
    for pair in pairs:
        if pair.language not in languages:
            dropped.add("language not chosen", pair.place)
            continue
        key = (pair.url, pair.text, "" if pair.text else pair.title, pair.split if keep_splits_apart else "")
        known = first.setdefault(key, pair)
        if known is pair:
            continue
        conflict = known.label and pair.label and known.label != pair.label
        dropped.add("repeated with another label" if conflict else "repeated", pair.place)
        first[key] = dataclasses.replace(known, title=known.title or pair.title, label=known.label or pair.label)
    return list(first.values())


def caption_of(pair: Pair, caption: CaptionField, labels: Labels, dropped: Dropped) -> str | None:
    """The pair's caption, one line; None (counted) where it has none."""
    title, text = (_line(known) for known in (pair.title, pair.text))
    related = labels == "all" or pair.label == "YES" or (labels == "not-unrelated" and pair.label == "")
    if caption == "title":
        line = title
    elif caption == "text":
        if text and not related:
            dropped.add("text not labelled as related", pair.place)
            return None
        line = text
    else:
        parts = [title.rstrip("."), text if related else ""]
        line = ". ".join(part for part in parts if part)
    if not line:
        dropped.add(f"no {'title or text' if caption == 'both' else caption}", pair.place)
    return line or None


def _pair(record: Any, split: str, place: str) -> Pair:
    if not isinstance(record, dict):
        raise StageError(f"{place}: expected a JSON object, got {_short(record)}: correct the record")
    for key in ("id", "image", "language", "text", "title"):
        if key not in record:
            raise StageError(f"{place}: there is no '{key}': correct the record")
    number, language = record["id"], record["language"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise StageError(f"{place}: 'id' must be a whole number, got {_short(number)}: correct it")
    if language not in _LANGUAGES:
        raise StageError(f"{place}: 'language' must be one of {', '.join(_LANGUAGES)}, got {_short(language)}")
    url = _text(record, "image", place)
    if not url:
        raise StageError(f"{place}: 'image' must be the url of a picture, got {_short(record['image'])}: correct it")
    label = _text(record, "subtask1_label", place).upper()
    if label not in _LABELS:
        raise StageError(f"{place}: 'subtask1_label' must be YES, NO or empty, got {_short(label)}: correct it")
    smells = record.get("subtask2_labels") or []
    if not isinstance(smells, list) or not all(isinstance(smell, str) for smell in smells):
        raise StageError(f"{place}: 'subtask2_labels' must be a list of words, got {_short(smells)}: correct it")
    text, title = (_text(record, key, place) for key in ("text", "title"))
    return Pair(number, url, language, label, tuple(smells), text, title, split, place)


def _text(record: dict[str, Any], key: str, place: str) -> str:
    """The record's text under a key; empty where it is unknown, which the files spell in several ways."""
    value = record.get(key)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise StageError(f"{place}: '{key}' must be text, got {_short(value)}: correct it")
    if any("\ud800" <= character <= "\udfff" for character in value):  # JSON can spell half of a character
        raise StageError(f"{place}: '{key}' holds half of a character, in {_short(value)}: correct it")
    return "" if value.strip().lower() in ("", "nan") else value


def _line(text: str) -> str:
    """The text as one line; empty where there is no letter or digit in it."""
    return " ".join(text.split()) if any(character.isalnum() for character in text) else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
