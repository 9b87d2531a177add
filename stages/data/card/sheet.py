"""The contact sheet: pictures spread over the training split, numbered, each with its caption below."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stages.data.card.lettering import Lettering
from stages.data.card.pictures import evenly_spaced
from stages.data.prepared import PreparedSet, Record

SHEET_PICTURES = 48
CELL = 128
"""Side of a picture on the sheet, pixels: an enlargement without blur of 16, 32 and 64 pixels."""
_COLUMNS = 8
_GAP = 12
_LINES = 5  # most that a caption has
_LINE, _UNDER = 15, 4  # pixels of a line, and between a picture and its caption
_NUMBER = 14  # pixels above a picture for its number
_TEXT, _SOFT, _PAPER = (30, 30, 30), (120, 116, 108), (250, 249, 246)


def sheet_records(dataset: PreparedSet, count: int = SHEET_PICTURES) -> list[Record]:
    """One pair of each of `count` pictures spread evenly over train, or over the first split where there is no train.

    None is chosen by hand; fewer where there are fewer pictures.
    """
    split = "train" if "train" in dataset.splits else dataset.splits[0]
    first: dict[int, Record] = {}
    for record in dataset.records:
        if record.split == split:
            first.setdefault(record.image, record)
    records = [first[row] for row in sorted(first)]
    return [records[place] for place in evenly_spaced(len(records), count)]


def contact_sheet(dataset: PreparedSet, records: list[Record]) -> Image.Image:
    """Draws pairs in rows of eight, numbered from 1 in the order of `records`."""
    columns = min(_COLUMNS, len(records))
    lettering = Lettering(12, CELL, _LINES)
    captions = [lettering.fit(record.caption) for record in records]
    tops = [_GAP]
    for start in range(0, len(records), columns):
        lines = max(len(caption.lines) for caption in captions[start : start + columns])
        tops.append(tops[-1] + _NUMBER + CELL + _UNDER + lines * _LINE + _GAP)
    sheet = Image.new("RGB", (columns * (CELL + _GAP) + _GAP, tops[-1]), _PAPER)
    drawing = ImageDraw.Draw(sheet)
    for place, (record, caption) in enumerate(zip(records, captions, strict=True)):
        x, y = _GAP + place % columns * (CELL + _GAP), tops[place // columns]
        drawing.text((x, y), str(place + 1), fill=_SOFT, font=ImageFont.load_default(size=10))
        sheet.paste(_resized(dataset.images[record.image]), (x, y + _NUMBER))
        for number, line in enumerate(caption.lines):  # line by line: some scripts' fonts space theirs much wider
            top = y + _NUMBER + CELL + _UNDER + number * _LINE
            drawing.text((x, top), line, fill=_TEXT, font=caption.font)
    return sheet


def _resized(picture: NDArray[np.uint8]) -> Image.Image:
    """A picture at the size of the sheet's cells: pixels repeated where they can be, else smoothed."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if CELL % image.width == 0:
        return image.resize((CELL, CELL), Image.Resampling.NEAREST)
    return image.resize((CELL, CELL), Image.Resampling.LANCZOS)
