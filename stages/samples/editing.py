"""A picture and a mask from files, to be painted into or varied."""

from pathlib import Path

import torch
from PIL import Image, ImageOps

from stages.config.data import PicturesConfig
from stages.config.samples import SamplesConfig
from stages.data import read_picture, to_tensor
from stages.errors import StageError
from stages.painter import Editing

_BLACK = (0, 0, 0)


def read_editing(section: SamplesConfig, size: int, pictures: PicturesConfig) -> Editing | None:
    """What `samples.image`, `mask` and `strength` ask for; None where they ask for nothing.

    Picture and mask are made square as the data set's pictures were.

    Args:
        size: side of the pictures, pixels.

    Raises:
        StageError: a mask without a picture, a file that is missing or no picture, sizes that differ, or a mask that is
            dark all over at that size.
    """
    if not section.image:
        if section.mask:
            raise StageError("samples.mask is given without samples.image: name the picture to paint into")
        return None
    whole = _size("samples.image", section.image)
    image = to_tensor(read_picture(Path(section.image), size, pictures.resize, pictures.background)[None])
    if not section.mask:
        return Editing(image, None, section.strength)
    masked = _size("samples.mask", section.mask)
    if masked != whole:
        raise StageError(f"samples.mask: {section.mask} is {masked} but the picture {whole} pixels: make them equal")
    repaint = read_picture(Path(section.mask), size, pictures.resize, _BLACK).mean(axis=-1) > 127
    if not repaint.any():
        raise StageError(
            f"samples.mask: {section.mask} has no bright pixel as it is seen at {size}x{size} pixels, so nothing would "
            "be painted: make the part white, wide enough to be seen there and inside of what is made square"
        )
    return Editing(image, torch.from_numpy(repaint)[None, None])


def _size(key: str, path: str) -> tuple[int, int]:
    """Width and height of a picture file as it is seen, its EXIF followed; it is decoded to its end."""
    try:
        with Image.open(path) as opened:
            return ImageOps.exif_transpose(opened).size
    except Exception as error:  # Pillow's plugins raise anything on a broken file
        reason = " ".join(str(error).split())
        raise StageError(f"{key}: {path} cannot be read as a picture ({reason}): name another file") from None
