"""Writes the data card beside the prepared set: `card.md` and `contact_sheet.png`."""

from pathlib import Path

from PIL import Image

from stages.data.card.figures import CardFigures, card_figures
from stages.data.card.sheet import contact_sheet, sheet_records
from stages.data.card.tables import CardTable, card_sentence, card_tables
from stages.data.prepared import PreparedSet, Record
from stages.markdown import escape_markdown, markdown_table

CARD = "card.md"
CONTACT_SHEET = "contact_sheet.png"
MOST_BYTES = 1_500_000
"""Size of a contact sheet above which its colours are reduced to 256."""


def write_card(dataset: PreparedSet, directory: Path, name: str, source: str) -> CardFigures:
    """Writes card and contact sheet of a prepared set into `directory`; returns the figures.

    Args:
        name: of the data set.
        source: where its pictures come from.

    Raises:
        StageError: a note of the source cannot be read.
    """
    figures = card_figures(dataset)
    records = sheet_records(dataset)
    save_sheet(contact_sheet(dataset, records), directory / CONTACT_SHEET)
    (directory / CARD).write_text(card_markdown(figures, records, name, source), encoding="utf-8")
    return figures


def card_markdown(figures: CardFigures, records: list[Record], name: str, source: str) -> str:
    """The card in Markdown; `records` are the pairs on the contact sheet."""
    parts = [f"# Data card: {escape_markdown(name)}", escape_markdown(card_sentence(figures, name, source))]
    parts += [_table(table) for table in card_tables(figures)]
    pictures = f"{len(records)} picture{'' if len(records) == 1 else 's'}"
    parts.append(f"## Contact sheet\n\n{pictures} spread evenly over '{escape_markdown(records[0].split)}'.")
    parts.append(f"![{pictures} with their captions]({CONTACT_SHEET})")
    rows = [[str(number), escape_markdown(record.caption)] for number, record in enumerate(records, start=1)]
    parts.append(f"<details><summary>The captions in full</summary>\n\n{markdown_table(['', 'caption'], rows)}")
    return "\n\n".join(part.rstrip() for part in [*parts, "</details>"]) + "\n"


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Saves a contact sheet as PNG, with 256 colours where it would be too large with all."""
    sheet.save(path)
    if path.stat().st_size > MOST_BYTES:
        sheet.quantize(256, method=Image.Quantize.FASTOCTREE).save(path)


def _table(table: CardTable) -> str:
    parts = [f"## {escape_markdown(table.title)}"]
    if table.rows:
        parts.append(markdown_table(table.head, [[escape_markdown(cell) for cell in row] for row in table.rows]))
    if table.remark:
        parts.append(escape_markdown(table.remark))
    return "\n\n".join(part.rstrip() for part in parts)
