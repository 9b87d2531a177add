"""What every layout of a folder checks: names stay inside it, captions are words, splits are known ones."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from PIL import Image

from stages.errors import StageError

MAX_TEXT = 1 << 20
"""Bytes that a caption file or a record in a shard may have; a larger one is something else."""


def picture_suffixes() -> frozenset[str]:
    """The endings (`.jpg`, ...), in lower case, of the picture files that Pillow can read."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def check_name(name: str, place: str, folder: Path) -> str:
    """The name as a plain path below the folder.

    Raises:
        StageError: it is absolute, leads upwards or cannot be written as UTF-8.
    """
    if not is_unicode(name):
        raise StageError(f"{place}: the name {short(name)} is not UTF-8: rename the file")
    upwards = ".." in PureWindowsPath(name).parts or ".." in PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or upwards:
        raise StageError(f"{place}: file_name {short(name)} leads out of the folder: give a path inside {folder}")
    return str(PurePosixPath(name))


def check_inside(path: Path, place: str, root: Path) -> None:
    """Follows the links on the way to the file: they too must end inside.

    Args:
        root: the folder, itself resolved.

    Raises:
        StageError: a link leads out of the folder.
    """
    if not path.resolve().is_relative_to(root):
        raise StageError(f"{place}: {path} is a link that leads out of the folder: put the file itself there")


def check_captions(text: object, name: str, place: str) -> list[str]:
    """The captions of a record (a text, or a list of them), each as one line of text.

    Raises:
        StageError: one is not text or has no word in it, or the list is empty.
    """
    captions = text if isinstance(text, list) else [text]
    name = short(name)
    if not captions:
        raise StageError(f"{place}: the list of captions of {name} is empty: write one or remove the record")
    checked = []
    for caption in captions:
        if not isinstance(caption, str) or not is_unicode(caption):
            raise StageError(f"{place}: the caption of {name} is not text but {short(caption)}: write one in words")
        if not any(character.isalnum() for character in caption):
            raise StageError(f"{place}: the caption of {name} is empty: write one or remove the record")
        checked.append(" ".join(caption.split()))
    return checked


def check_tag(record: dict[str, Any], key: str, place: str) -> str | None:
    """The record's `group` or `split`, as text; None where it has none.

    Raises:
        StageError: it is neither a number nor text that can be written as UTF-8.
    """
    value = record.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str | int) or not is_unicode(str(value)):
        raise StageError(f"{place}: '{key}' must be text or a number, got {short(value)}: correct it")
    return str(value)


def decode(text: bytes, place: str) -> str:
    """The text of a caption file.

    Raises:
        StageError: it is too large for one, or not UTF-8.
    """
    if len(text) > MAX_TEXT:
        raise StageError(f"{place}: more than {MAX_TEXT} bytes is no caption: shorten it or remove the file")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise StageError(f"{place}: not UTF-8 text: save the file as UTF-8") from None


def short(value: object) -> str:
    """The value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file, one at a time, each with its end: \\n only, for a text may hold other separators.

    Raises:
        StageError: a line is not UTF-8 text.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise StageError(f"{path}, line {number}: not UTF-8 text: save the file as UTF-8") from None


def is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON can spell half of a character, and a file's name can be any bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
