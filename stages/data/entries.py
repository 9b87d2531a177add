"""What a source that finds its pictures in files says of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption of a picture."""

    text: str
    """One line, checked not to be empty."""
    fields: Mapping[str, Any] = field(default_factory=lambda: _NO_FIELDS)
    """Further fields of a MUSTI record (`language`, `text`, `subtask1_label`, ...)."""
    split: str | None = None
    """The split that the source itself puts this pair in, where it has official ones."""


@dataclass(slots=True)
class Entry:
    """A picture with its captions, as a source names it."""

    file_name: str
    """Unique to the picture within its source."""
    path: Path
    """The file to read."""
    place: str
    """File and line (or record) of the first mention, for messages."""
    captions: list[Caption] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    """What ties it to other pictures: those of one group are never on two sides of a split."""
    span: tuple[int, int] | None = None
    """Offset and length in bytes of the picture within `path`, where that is an archive."""
