"""Reads picture files of any kind into square RGB pictures of one size."""

from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Resize = Literal["crop", "pad", "stretch"]
Background = tuple[int, int, int]


def read_picture(file: Path | BinaryIO, size: int, resize: Resize, background: Background) -> NDArray[np.uint8]:
    """The picture file as (size, size, 3) uint8: turned by its EXIF, transparency over `background`, made square.

    Of a file with several pictures (animated GIF, WebP, PNG; TIFF) it is the first.

    Raises:
        Exception: whatever Pillow raises on a broken file (OSError, SyntaxError, ValueError, struct.error, ...).
    """
    with Image.open(file) as image:
        image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size
        image.load()
        return np.asarray(_square(_over(ImageOps.exif_transpose(image), background), size, resize, background))


def _over(image: Image.Image, background: Background) -> Image.Image:
    """The image as RGB; palettes, CMYK, grey levels of 1, 8 and 16 bits or in floats, and transparency are resolved."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _in_8_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*background, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits, or floats in [0, 1] or [0, 255], in 8 bits; one level may stand for transparency."""
    levels = np.asarray(image).astype(np.float64)
    scale = 1 / 257 if image.mode != "F" else 255.0 if levels.max() <= 1.0 else 1.0
    grey = Image.fromarray(np.clip(levels * scale + 0.5, 0, 255).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return grey


def _square(image: Image.Image, size: int, resize: Resize, background: Background) -> Image.Image:
    """The image cut at the centre, framed, or stretched to size x size."""
    if resize == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    if resize == "stretch":
        return image.resize((size, size), Image.Resampling.LANCZOS)
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    framed = Image.new("RGB", (size, size), background)
    framed.paste(image.resize((width, height), Image.Resampling.LANCZOS), ((size - width) // 2, (size - height) // 2))
    return framed
