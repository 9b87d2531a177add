"""The data card: what a prepared set holds, in figures and in a contact sheet."""

from stages.data.card.figures import CardFigures, card_figures
from stages.data.card.pictures import evenly_spaced
from stages.data.card.sheet import SHEET_PICTURES, contact_sheet, sheet_records
from stages.data.card.tables import CardTable, card_sentence, card_tables
from stages.data.card.write import CARD, CONTACT_SHEET, write_card

__all__ = [
    "CARD", "CONTACT_SHEET", "SHEET_PICTURES", "CardFigures", "CardTable", "card_figures", "card_sentence",
    "card_tables", "contact_sheet", "evenly_spaced", "sheet_records", "write_card",
]  # fmt: skip
