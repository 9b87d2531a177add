"""The source `folder`: pictures and captions after the ImageFolder convention of Hugging Face `datasets`.

A folder holds pictures and either `metadata.jsonl` or `metadata.csv` with `file_name`, `text` and optionally `group`.
A picture may have several captions: a list of them (jsonl), or several records that name it.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from stages.config.data import DataConfig
from stages.data.assembly import Caption, Entry, assemble
from stages.data.prepared import PreparedWriter
from stages.data.splitting import TooFewGroups
from stages.errors import StageError

METADATA = ("metadata.jsonl", "metadata.csv")
_BLOCK = 256  # pictures read at a time


class FolderSource:
    """Pictures with captions from a folder, split by group (or by picture where there is none)."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.config, self.seed = config, seed

    def write(self, writer: PreparedWriter) -> None:
        """Checks every record, reads every picture and writes them in their splits.

        Raises:
            StageError: no metadata, a record that cannot be used, or too few groups for the splits.
        """
        path = self.config.folder.path
        entries = read_metadata(path)
        try:
            assemble(entries, writer, self.config.pictures, self.config.splits, self.seed)
        except TooFewGroups as error:
            raise StageError(f"{metadata_path(path)}: {error}") from None


def metadata_path(folder: str) -> Path:
    """The metadata file of the folder.

    Raises:
        StageError: no folder was named, or it holds no metadata.
    """
    if not folder:
        raise StageError("data.folder.path is empty: name the folder with metadata.jsonl or metadata.csv in it")
    if not Path(folder).is_dir():
        raise StageError(f"data.folder.path: {folder} is not a folder: correct the path")
    for name in METADATA:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise StageError(f"{folder} holds neither metadata.jsonl nor metadata.csv: add one with 'file_name' and 'text'")


def read_metadata(folder: str) -> list[Entry]:
    """Every picture that the metadata name, in their order, with its captions and groups.

    Raises:
        StageError: a record that cannot be used, naming file and line; or no record at all.
    """
    path = metadata_path(folder)
    entries: dict[str, Entry] = {}
    for line, record in _records(path):
        place = f"{path}, line {line}"
        name = _file_name(record, place, path.parent)
        entry = entries.setdefault(name, Entry(name, path.parent / name, place))
        entry.captions.extend(Caption(text) for text in _captions(record, place))
        group = record.get("group")
        if group is not None and group != "":
            if not isinstance(group, str | int):
                raise StageError(f"{place}: 'group' must be text or a number, got {_short(group)}: correct it")
            entry.groups.append(str(group))
    if not entries:
        raise StageError(f"{path} has no records: add one for each picture")
    return list(entries.values())


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, record) for each record of the metadata."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise StageError(f"{path}, line {line}: not UTF-8 text: save the file as UTF-8") from None
    return _csv_records(path, text) if path.suffix == ".csv" else _json_records(path, text)


def _json_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise StageError(f"{path}, line {number}: not JSON ({error}): correct the line") from None
        if not isinstance(record, dict):
            raise StageError(f"{path}, line {number}: expected a JSON object, got {_short(record)}: correct the line")
        yield number, record


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for column in ("file_name", "text"):
            if column not in (reader.fieldnames or ()):
                raise StageError(f"{path}, line 1: there is no column '{column}': add it to the header")
        for record in reader:
            if None in record:
                place = f"{path}, line {reader.line_num}"
                raise StageError(f"{place}: more cells than the header has: put quotes around a text with commas")
            yield reader.line_num, record
    except csv.Error as error:
        raise StageError(f"{path}, line {reader.reader.line_num}: not CSV ({error}): correct the line") from None


def _file_name(record: dict[str, Any], place: str, folder: Path) -> str:
    """The record's file name, inside the folder and there."""
    name = record.get("file_name")
    if not isinstance(name, str) or not name.strip():
        raise StageError(f"{place}: 'file_name' must name a picture, got {_short(name)}: add it")
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or ".." in PureWindowsPath(name).parts:
        raise StageError(f"{place}: file_name {_short(name)} leads out of the folder: give a path inside {folder}")
    name = str(PurePosixPath(name))
    if "\0" in name or not (folder / name).is_file():
        raise StageError(f"{place}: the picture {folder / name} is missing: add the file or remove the record")
    return name


def _captions(record: dict[str, Any], place: str) -> list[str]:
    """The record's captions, each one line of text."""
    text = record.get("text")
    captions = text if isinstance(text, list) else [text]
    name = _short(record["file_name"])
    if not captions:
        raise StageError(f"{place}: the list of captions of {name} is empty: write one or remove the record")
    checked = []
    for caption in captions:
        if not isinstance(caption, str) or not _is_unicode(caption):
            raise StageError(f"{place}: the caption of {name} is not text but {_short(caption)}: write one in words")
        if not any(character.isalnum() for character in caption):
            raise StageError(f"{place}: the caption of {name} is empty: write one or remove the record")
        checked.append(" ".join(caption.split()))
    return checked


def _is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8: JSON can spell half of a character."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
