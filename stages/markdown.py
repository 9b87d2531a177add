"""Text and tables in GitHub's Markdown, in which text from outside stays text."""

import re
import unicodedata
from collections.abc import Sequence

_SPECIAL = re.compile(
    r"([\\`*_\[\]|#~$])"  # emphasis, code, links, table cells, headings, struck-out text, formulas
    r"|^([-+=])"  # lists and headings; numbered lists are below
    r"|(?<=\w)(:)(?=//)|(:)(?=[\w+-]+:)"  # addresses and :shortcodes:
    r"|(?<=\bwww)(\.)",
    flags=re.IGNORECASE,
)
_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Bidirectional classes of the marks that turn the direction of the text after them, beyond their own too."""


def one_line(text: str) -> str:
    """The text on one line, without control characters and marks that would turn what stands after it around."""
    return "".join(
        letter
        for letter in " ".join(text.split())
        if unicodedata.category(letter) != "Cc" and unicodedata.bidirectional(letter) not in _DIRECTIONS
    )


def escape_markdown(text: str) -> str:
    """Text that Markdown and HTML inside it take for nothing but text, on one line."""
    plain = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", one_line(text)))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; the head is plain text."""
    lines = [[escape_markdown(name) for name in head], ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
