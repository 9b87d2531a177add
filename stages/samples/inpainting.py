"""In-painting: a picture and a mask become the codes to keep and the codes to draw."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.blip import Blip
from stages.config.data import PicturesConfig
from stages.data import read_picture, to_tensor
from stages.errors import StageError
from stages.prior import UNKNOWN
from stages.vqvae import VQVAE, Codes

_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class Inpainting:
    """A picture of which a part is painted anew."""

    image: Tensor
    """(1,3,H,W) in [-1,1]."""
    repaint: Tensor
    """(1,1,H,W) bool, True where the picture is painted anew."""

    def known_codes(self, blip: Blip, vqvae: VQVAE) -> Codes:
        """The picture's codes, top (1,h,w) and bottom (1,2h,2w), `UNKNOWN` where their cell has a pixel to repaint."""
        codes = vqvae.encode(self.image, blip.encode_images(self.image))
        return Codes(*(_forget(level, self.repaint) for level in codes))

    def keep_pixels(self, painted: Tensor) -> Tensor:
        """Pictures (B,3,H,W) with the given picture outside the mask."""
        return torch.where(self.repaint, painted, self.image)


def _forget(indices: Tensor, repaint: Tensor) -> Tensor:
    touched = F.adaptive_max_pool2d(repaint.float(), indices.shape[-1])[:, 0] > 0  # (1,h,w)
    return torch.where(touched, UNKNOWN, indices)


def read_inpainting(image: str, mask: str, size: int, pictures: PicturesConfig) -> Inpainting:
    """Picture and mask from files, made square as the data set's pictures were.

    Args:
        mask: a picture as large as `image`, bright where it is painted anew.
        size: side of the pictures, pixels.

    Raises:
        StageError: a file is missing or no picture, the sizes differ, or the mask is dark all over.
    """
    if not (image and mask):
        given, lacking = ("image", "mask") if image else ("mask", "image")
        raise StageError(f"samples.{given} is given without samples.{lacking}: in-painting needs both")
    _check_same_size(image, mask)
    painted = _read("samples.image", image, size, pictures.resize, pictures.background)
    repaint = _read("samples.mask", mask, size, pictures.resize, _BLACK).mean(axis=-1) > 127
    if not repaint.any():
        raise StageError(f"samples.mask: {mask} has no bright pixel, so nothing would be painted: make the part white")
    return Inpainting(to_tensor(painted[None]), torch.from_numpy(repaint)[None, None])


def _check_same_size(image: str, mask: str) -> None:
    from PIL import Image

    sizes = []
    for key, path in (("samples.image", image), ("samples.mask", mask)):
        try:
            with Image.open(path) as opened:
                sizes.append(opened.size)
        except (OSError, ValueError, SyntaxError) as error:
            raise StageError(f"{key}: {path} cannot be read as a picture ({error}): name another file") from None
    if sizes[0] != sizes[1]:
        raise StageError(f"samples.mask: {mask} is {sizes[1]} but the picture {sizes[0]} pixels: make them equal")


def _read(key: str, path: str, size: int, *options: object) -> np.ndarray:
    try:
        return read_picture(Path(path), size, *options)  # type: ignore[arg-type]
    except Exception as error:  # Pillow's plugins raise anything on a broken file
        raise StageError(f"{key}: {path} is broken ({' '.join(str(error).split())}): name another file") from None
