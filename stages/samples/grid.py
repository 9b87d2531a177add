"""A labelled grid: one row of pictures for each prompt, the prompt above it."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 160
"""Side of a picture in the grid, pixels; small pictures are enlarged to it."""
GAP = 8
_TEXT, _PAPER = (30, 30, 30), (250, 249, 246)


def labelled_grid(pictures: np.ndarray, prompts: list[str]) -> Image.Image:
    """Draws the grid.

    Args:
        pictures: (R,C,H,W,3) uint8, C pictures for each of R prompts.
        prompts: R of them.
    """
    rows, columns = pictures.shape[:2]
    font = ImageFont.load_default(size=14)
    width = columns * (CELL + GAP) + GAP
    labels = ["\n".join(textwrap.wrap(prompt, width=max(12, (width - 2 * GAP) // 7))) for prompt in prompts]
    heights = [18 * (label.count("\n") + 1) + GAP for label in labels]
    sheet = Image.new("RGB", (width, sum(heights) + rows * (CELL + GAP) + GAP), _PAPER)
    drawing = ImageDraw.Draw(sheet)
    y = GAP
    for row in range(rows):
        drawing.multiline_text((GAP, y), labels[row], fill=_TEXT, font=font, spacing=3)
        y += heights[row]
        for column in range(columns):
            picture = Image.fromarray(pictures[row, column]).resize((CELL, CELL), Image.Resampling.BICUBIC)
            sheet.paste(picture, (GAP + column * (CELL + GAP), y))
        y += CELL + GAP
    return sheet
