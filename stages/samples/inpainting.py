"""In-painting: a picture and a mask become the codes to keep and the codes to draw."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
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
    if (painted_size := _size("samples.image", image)) != (mask_size := _size("samples.mask", mask)):
        raise StageError(f"samples.mask: {mask} is {mask_size} but the picture {painted_size} pixels: make them equal")
    painted = read_picture(Path(image), size, pictures.resize, pictures.background)
    repaint = read_picture(Path(mask), size, pictures.resize, _BLACK).mean(axis=-1) > 127
    if not repaint.any():
        raise StageError(f"samples.mask: {mask} has no bright pixel, so nothing would be painted: make the part white")
    return Inpainting(to_tensor(painted[None]), torch.from_numpy(repaint)[None, None])


def _size(key: str, path: str) -> tuple[int, int]:
    """Width and height of a picture file as it is seen, its EXIF followed; it is decoded to its end."""
    try:
        with Image.open(path) as opened:
            return ImageOps.exif_transpose(opened).size
    except Exception as error:  # Pillow's plugins raise anything on a broken file
        reason = " ".join(str(error).split())
        raise StageError(f"{key}: {path} cannot be read as a picture ({reason}): name another file") from None
