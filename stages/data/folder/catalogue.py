"""The pictures of a folder in little more bytes than their captions have: a large folder must not fill the memory."""

import json
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, overload

from stages.data.entries import Caption, Entry


class Catalogue(Sequence[Entry]):
    """What a folder holds, in the order of first mention; an `Entry` is made when it is asked for.

    The records lie one after the other in one buffer: as objects they would take five times the memory.

    Args:
        root: the folder.
        place: what names the pictures (the metadata, or the folder itself), for messages on the whole.
        place_of: (name of the picture, position in `place`) -> where the picture is named, for messages on one.
    """

    def __init__(self, root: Path, place: Path, place_of: Callable[[str, int], str]) -> None:
        self.root, self.place, self._place_of = root, place, place_of
        self._buffer = bytearray()
        self._ends = array("q")  # of each record in the buffer
        self._firsts = array("q")  # each picture's first record
        self._further: dict[int, list[int]] = {}  # row of a picture -> its other records
        self._rows: dict[str, int] = {}

    def add(
        self,
        name: str,
        captions: Iterable[Caption],
        *,
        position: int = 0,
        group: str | None = None,
        span: tuple[int, int] | None = None,
    ) -> bool:
        """Adds captions to the picture of that name; whether the picture is new here.

        Args:
            name: path below `root`; for a picture within an archive, that of the archive, `/`, and its name there.
            position: line number of the record.
            span: offset and length in bytes of a picture within an archive.
        """
        row = self._rows.setdefault(name, len(self._firsts))
        new = row == len(self._firsts)
        if new:
            self._firsts.append(len(self._ends))
        else:
            self._further.setdefault(row, []).append(len(self._ends))
        record = [name, [(caption.text, caption.split) for caption in captions], position, group, span]
        self._buffer += json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        self._ends.append(len(self._buffer))
        return new

    def finish(self) -> "Catalogue":
        """Nothing more will be added: forgets what was kept to tell new pictures by."""
        self._rows.clear()
        return self

    def __len__(self) -> int:
        return len(self._firsts)

    @overload
    def __getitem__(self, row: int) -> Entry: ...
    @overload
    def __getitem__(self, row: slice) -> list[Entry]: ...

    def __getitem__(self, row: int | slice) -> Entry | list[Entry]:
        if isinstance(row, slice):
            return [self._entry(each) for each in range(*row.indices(len(self)))]
        return self._entry(range(len(self))[row])

    def _entry(self, row: int) -> Entry:
        records = [self._record(number) for number in (self._firsts[row], *self._further.get(row, ()))]
        name, _, position, _, span = records[0]
        return Entry(
            name,
            self.root / (name if span is None else name.partition("/")[0]),
            self._place_of(name, position),
            [Caption(text, split=split) for record in records for text, split in record[1]],
            [record[3] for record in records if record[3] is not None],
            None if span is None else (span[0], span[1]),
        )

    def _record(self, number: int) -> list[Any]:
        start = self._ends[number - 1] if number else 0
        record: list[Any] = json.loads(bytes(self._buffer[start : self._ends[number]]))
        return record
