"""Captions in any script as lines that fit into a column, drawn with the fonts that there are."""

import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont, features
from PIL.ImageFont import FreeTypeFont

UNDRAWN = "(\N{HORIZONTAL ELLIPSIS})"
"""Stands for letters that no font here has."""
_SYSTEM_FONTS = ("NotoSansCJK-Regular.ttc", "DroidSansFallbackFull.ttf", "wqy-microhei.ttc", "msyh.ttc",
                 "Arial Unicode.ttf", "unifont.ttf")  # fmt: skip
"""Fonts of many scripts, looked for by name where the system keeps its fonts."""
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"


class Fitted(NamedTuple):
    """A caption broken into lines, and the font that draws it."""

    font: FreeTypeFont
    lines: list[str]


class Lettering:
    """Fits captions into a column.

    Args:
        size: of the letters, pixels.
        width: of the column, pixels.
        lines: most that a caption may have.
    """

    def __init__(self, size: int, width: int, lines: int) -> None:
        self.size = size
        self.width = width
        self.lines = lines

    def fit(self, caption: str) -> Fitted:
        """Breaks a caption into lines, shortens it to fit and leaves out what cannot be drawn."""
        font, letters = _best_font(caption, self.size)
        lines = self._break(_drawable(caption, letters), font)
        if len(lines) > self.lines:
            last = lines[self.lines - 1]
            while last and font.getlength(last + "…") > self.width:
                last = last[:-1]
            lines = [*lines[: self.lines - 1], last.rstrip() + "…"]
        return Fitted(font, lines)

    def _break(self, text: str, font: FreeTypeFont) -> list[str]:
        """Breaks between words, and within a word where it is wider than the column; stops when there is too much."""
        lines = [""]
        for word in text.split():
            wanted = f"{lines[-1]} {word}".strip()
            if font.getlength(wanted) <= self.width:
                lines[-1] = wanted
                continue
            if lines[-1]:
                lines.append("")
            for letter in word:
                if lines[-1] and font.getlength(lines[-1] + letter) > self.width:
                    lines.append("")
                lines[-1] += letter
                if len(lines) > self.lines:
                    return lines
        return lines


def _drawable(caption: str, letters: frozenset[int]) -> str:
    """The caption with `UNDRAWN` in the place of each run of letters that a font does not have."""
    text = ""
    for letter in " ".join(caption.split()):
        if letter in _JOINERS or unicodedata.category(letter) in ("Cc", "Cf"):
            continue  # they draw nothing, and some of them would turn the rest of the line around
        text += letter if letter == " " or _can_draw(letter, letters) else "\ufffe"
    return re.sub("\ufffe(?: ?\ufffe)*", UNDRAWN, text)


def _can_draw(letter: str, letters: frozenset[int]) -> bool:
    right_to_left = unicodedata.bidirectional(letter) in ("R", "AL")
    return ord(letter) in letters and (not right_to_left or _shapes_text())


def _best_font(caption: str, size: int) -> tuple[FreeTypeFont, frozenset[int]]:
    """The first font that has every letter of a caption, else the one that has most of them."""
    wanted = {ord(letter) for letter in caption if letter not in _JOINERS and letter.isprintable()}
    best = _own_font(size)
    for name in ("", *_SYSTEM_FONTS):
        found = _system_font(name, size) if name else best
        if found is not None and len(wanted - found[1]) < len(wanted - best[1]):
            best = found
        if wanted <= best[1]:
            break
    return best


@lru_cache
def _own_font(size: int) -> tuple[FreeTypeFont, frozenset[int]]:
    """DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic and many symbols."""
    import matplotlib as mpl

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size), _letters(str(path))


@lru_cache
def _system_font(name: str, size: int) -> tuple[FreeTypeFont, frozenset[int]] | None:
    try:
        font = ImageFont.truetype(name, size)
        return font, _letters(str(font.path))
    except (OSError, RuntimeError):  # not on this machine, or not a font that can be read
        return None


@lru_cache
def _letters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(path).get_charmap())


@lru_cache
def _shapes_text() -> bool:
    """Whether letters can be put from right to left, which Pillow leaves to the library Raqm."""
    return bool(features.check("raqm"))
