"""The data card on the page: the figures that the data stage's own card gives, the contact sheet, and examples."""

import io
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from stages.data import PreparedSet
from stages.data.card import (
    CardTable,
    card_figures,
    card_sentence,
    card_tables,
    contact_sheet,
    evenly_spaced,
    sheet_records,
)
from stages.report.pictures import Figure, data_uri, picture_uri
from stages.report.table import Cell, Table

SHEET_BYTES = 400_000
"""Most that the contact sheet may take of the page."""
_QUALITIES = (88, 80, 75, 70, 60, 45, 30)


@dataclass(frozen=True)
class DataCard:
    """What is said about a data set."""

    sentence: str
    tables: list[Table]
    sheet: Figure
    sheet_captions: list[str]
    """The captions on the contact sheet in full, in its order."""
    sheet_split: str
    examples: list[Figure] = field(default_factory=list)
    example_split: str = ""


def data_card(dataset: PreparedSet, manifest: dict[str, Any], examples: int, longest: int) -> DataCard:
    """The card of a prepared set, counted anew: a set that was prepared before there were cards has one here too.

    Raises:
        StageError: a note of the data's source cannot be read.
    """
    section = manifest.get("config", {})
    figures, on_sheet = card_figures(dataset), sheet_records(dataset)
    name = "test" if "test" in dataset.splits else dataset.splits[0]
    split = dataset.split(name)
    chosen = [split.records[row] for row in evenly_spaced(len(split), examples)] if examples else []
    pictures = f"{len(on_sheet)} picture{'' if len(on_sheet) == 1 else 's'}"
    return DataCard(
        sentence=card_sentence(
            figures, str(section.get("name", dataset.directory.name)), str(section.get("source", "unknown"))
        ),
        tables=[_table(table) for table in card_tables(figures)],
        sheet=_sheet_figure(contact_sheet(dataset, on_sheet), f"Contact sheet: {pictures}, numbered, with captions"),
        sheet_captions=[record.caption for record in on_sheet],
        sheet_split=on_sheet[0].split,
        examples=[Figure(*picture_uri(dataset.images[row.image], longest), label=row.caption) for row in chosen],
        example_split=name,
    )


def _table(table: CardTable) -> Table:
    last = len(table.head) - 1
    rows = [[Cell(text, wide=table.wide and place == last) for place, text in enumerate(row)] for row in table.rows]
    return Table(f"card-{table.id}", table.title, table.head, rows, remark=table.remark)


def _sheet_figure(sheet: Image.Image, label: str) -> Figure:
    """The contact sheet as PNG where that is small enough, else as JPEG of the best quality that is."""
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    source = data_uri("image/png", buffer.getvalue())
    for quality in _QUALITIES:
        if len(source) <= SHEET_BYTES:
            break
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=quality, optimize=True)
        source = data_uri("image/jpeg", buffer.getvalue())
    return Figure(source, sheet.width, sheet.height, label)
