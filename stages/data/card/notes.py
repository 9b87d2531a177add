"""What a source noted beside a prepared set: pictures it dropped or could not get, and how its splits came about."""

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.data.prepared import DROPPED, MISSING, SPLITS
from stages.errors import StageError


@dataclass(frozen=True)
class SourceNotes:
    """Everything that a source may note; a source that has nothing to say writes no file."""

    dropped: dict[str, str] = field(default_factory=dict)
    """Reason -> how many were dropped for it."""
    missing: dict[str, int] = field(default_factory=dict)
    """Reason -> how many pictures could not be got for it, most first."""
    exact_duplicates: int | None = None
    """The same pictures as the source counted them; None: it does not say."""
    near_duplicates: int | None = None
    """Pictures that look like another; None: they were not looked for."""
    official: bool | None = None
    """Whether the splits are the source's own; None: it does not say."""
    overlap: dict[str, str] = field(default_factory=dict)
    """What the official splits share, in words or numbers."""


def read_notes(directory: Path) -> SourceNotes:
    """The notes in the folder of a prepared set.

    Raises:
        StageError: a note is there but cannot be read.
    """
    splits = _read_object(directory / SPLITS)
    return SourceNotes(
        dropped=_flatten(_read_object(directory / DROPPED)),
        missing=_count_reasons(directory / MISSING),
        exact_duplicates=splits.get("exact_duplicates"),
        near_duplicates=splits.get("near_duplicates"),
        official=splits.get("official"),
        overlap=_flatten(splits.get("overlap") or {}),
    )


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StageError(f"{path}: not whole ({error}); remove {path.parent} and run: make data") from None
    if not isinstance(content, dict):
        raise StageError(f"{path}: expected an object, got {type(content).__name__}; run: make data")
    return content


def _flatten(content: Any, prefix: str = "") -> dict[str, str]:
    """The leaves of nested objects by their path, in words."""
    if not isinstance(content, dict):
        return {prefix or "all": _in_words(content)}
    leaves: dict[str, str] = {}
    for name, value in content.items():
        leaves |= _flatten(value, f"{prefix}, {name}" if prefix else str(name))
    return leaves


def _in_words(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "unknown"}[value]
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _count_reasons(path: Path) -> dict[str, int]:
    """Reason -> number of lines of `missing.csv`; a file without the column `reason` counts under one name."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reasons = Counter((line.get("reason") or "").strip() or "no reason noted" for line in csv.DictReader(file))
    return dict(reasons.most_common())
