"""The sheet of pictures beside the train pictures that they are nearest to."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.data.card.lettering import Fitted, Lettering

SHEET_PAIRS = 12
"""Pairs of each kind of distance, at most."""
CELL = 128
"""Side of a picture on the sheet, pixels."""
_COLUMNS = 4
_GAP, _BETWEEN = 24, 6  # pixels between pairs, and between the pictures of a pair
_LINES = 5  # most that a caption has
_LINE, _TITLE = 15, 26  # pixels of a line of a caption, and of a title
_TEXT, _SOFT, _PAPER = (30, 30, 30), (120, 116, 108), (250, 249, 246)


class Pair(NamedTuple):
    """A picture and the train picture nearest to it."""

    picture: np.ndarray
    """(H,W,3) uint8."""
    prompt: str
    train_picture: np.ndarray
    """(H,W,3) uint8."""
    train_caption: str
    distance: float


def copying_sheet(pairs: Mapping[str, Sequence[Pair]]) -> Image.Image:
    """Draws pairs in rows of four, a title for each kind of distance; the sample is left, its own caption under each.

    Args:
        pairs: by what the distance is, the nearest first.
    """
    lettering = Lettering(11, CELL - _BETWEEN, _LINES)
    width = _COLUMNS * (2 * CELL + _BETWEEN + _GAP) + _GAP
    strips = []
    for title, found in pairs.items():
        strips.append(_title(f"Nearest by {title}: sample | nearest train picture", width))
        strips += [_row(found[start : start + _COLUMNS], lettering, width) for start in range(0, len(found), _COLUMNS)]
    sheet = Image.new("RGB", (width, sum(strip.height for strip in strips) + _GAP), _PAPER)
    top = _GAP // 2
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


def _title(text: str, width: int) -> Image.Image:
    strip = Image.new("RGB", (width, _TITLE), _PAPER)
    ImageDraw.Draw(strip).text((_GAP, 4), text, fill=_TEXT, font=ImageFont.load_default(size=14))
    return strip


def _row(pairs: Sequence[Pair], lettering: Lettering, width: int) -> Image.Image:
    captions = [(lettering.fit(pair.prompt), lettering.fit(pair.train_caption)) for pair in pairs]
    lines = max(len(caption.lines) for both in captions for caption in both)
    strip = Image.new("RGB", (width, _LINE + CELL + 4 + lines * _LINE + _GAP // 2), _PAPER)
    drawing = ImageDraw.Draw(strip)
    for column, (pair, (prompt, train_caption)) in enumerate(zip(pairs, captions, strict=True)):
        left = _GAP + column * (2 * CELL + _BETWEEN + _GAP)
        right = left + CELL + _BETWEEN
        drawing.text((left, 0), f"distance {pair.distance:.3g}", fill=_SOFT, font=ImageFont.load_default(size=11))
        for x, picture, caption in ((left, pair.picture, prompt), (right, pair.train_picture, train_caption)):
            strip.paste(_resized(picture), (x, _LINE))
            _write(drawing, caption, x, _LINE + CELL + 4)
    return strip


def _write(drawing: ImageDraw.ImageDraw, caption: Fitted, x: int, y: int) -> None:
    for number, line in enumerate(caption.lines):
        drawing.text((x, y + number * _LINE), line, fill=_TEXT, font=caption.font)


def _resized(picture: np.ndarray) -> Image.Image:
    """A picture at the size of a cell: pixels repeated where they can be, else smoothed."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    repeated = CELL % image.width == 0
    return image.resize((CELL, CELL), Image.Resampling.NEAREST if repeated else Image.Resampling.LANCZOS)
