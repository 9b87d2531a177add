"""The layout of ImageFolder of Hugging Face `datasets`: `metadata.jsonl` or `metadata.csv` names every picture.

A record has `file_name`, `text`, and where wanted `group` and `split`. A picture may have several captions: a list of
them (jsonl), or several records that name it.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.data.entries import Caption
from stages.data.folder.catalogue import Catalogue
from stages.data.folder.checks import check_captions, check_inside, check_name, check_tag, lines_of, short
from stages.errors import StageError

METADATA = ("metadata.jsonl", "metadata.csv")


def read_metadata(path: Path) -> Catalogue:
    """Every picture that the metadata file names, in their order, with its captions, groups and splits.

    Raises:
        StageError: a record that cannot be used, naming file and line; or no record at all.
    """
    root, resolved = path.parent, path.parent.resolve()
    catalogue = Catalogue(root, path, lambda name, line: f"{path}, line {line}")
    for line, record in _csv_records(path) if path.suffix == ".csv" else _json_records(path):
        place = f"{path}, line {line}"
        name = _file_name(record, place, root)
        split = check_tag(record, "split", place)
        captions = [Caption(text, split=split) for text in check_captions(record.get("text"), name, place)]
        if catalogue.add(name, captions, position=line, group=check_tag(record, "group", place)):
            check_inside(root / name, place, resolved)
    if not len(catalogue):
        raise StageError(f"{path} has no records: add one for each picture")
    return catalogue.finish()


def _json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise StageError(f"{path}, line {number}: not JSON ({error}): correct the line") from None
        if not isinstance(record, dict):
            raise StageError(f"{path}, line {number}: expected a JSON object, got {short(record)}: correct the line")
        yield number, record


def _csv_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(lines_of(path), strict=True)
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
        raise StageError(f"{place}: 'file_name' must name a picture, got {short(name)}: add it")
    name = check_name(name, place, folder)
    if "\0" in name or not (folder / name).is_file():
        raise StageError(f"{place}: the picture {folder / name} is missing: add the file or remove the record")
    return name
