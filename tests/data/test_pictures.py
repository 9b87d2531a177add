"""Picture files of every kind as square RGB pictures."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.data.pictures import read_picture


def test_any_kind_of_picture_is_read(tmp_path: Path) -> None:
    red, path = (200, 10, 20), tmp_path / "p"
    clear = Image.new("RGBA", (8, 8), (*red, 0))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, *red])
    deep = Image.fromarray(np.full((8, 8), 128 * 257, dtype=np.uint16))
    background = (1, 2, 3)
    for image, suffix, options, colour in (
        (Image.new("RGB", (8, 8), red), "png", {}, red),
        (clear, "png", {}, background),
        (palette, "png", {}, red),
        (palette, "png", {"transparency": 1}, background),
        (Image.new("LA", (8, 8), (90, 0)), "png", {}, background),
        (Image.new("L", (8, 8), 90), "png", {}, (90, 90, 90)),
        (Image.new("1", (8, 8), 1), "png", {}, (255, 255, 255)),
        (deep, "png", {}, (128, 128, 128)),
        (palette, "gif", {}, red),
    ):
        file = path.with_suffix("." + suffix)
        image.save(file, **options)  # type: ignore[arg-type]
        assert tuple(read_picture(file, 8, "crop", background)[4, 4]) == colour, (image.mode, options)


def test_pictures_are_turned_by_their_exif(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # white above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "p.png", exif=exif)
    read = read_picture(tmp_path / "p.png", 16, "crop", (0, 0, 0))
    assert read[2].max() == 0 and read[13].min() == 255


def test_pictures_become_square_by_cutting_framing_or_stretching(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 16), (255, 0, 0))
    image.paste((0, 255, 0), (8, 0, 24, 16))  # red, green, red
    image.save(tmp_path / "p.png")
    crop, pad, stretch = (read_picture(tmp_path / "p.png", 16, way, (0, 0, 9)) for way in ("crop", "pad", "stretch"))
    assert (crop == (0, 255, 0)).all()
    assert (pad[:4] == (0, 0, 9)).all() and (pad[12:] == (0, 0, 9)).all() and tuple(pad[8, 8]) == (0, 255, 0)
    assert tuple(stretch[0, 0]) == (255, 0, 0) and tuple(stretch[15, 8]) == (0, 255, 0)


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_thin_pictures_are_read(resize: Any, tmp_path: Path) -> None:
    Image.new("RGB", (400, 1), (255, 0, 0)).save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png", 16, resize, (0, 0, 0)).shape == (16, 16, 3)


def test_cmyk_floats_and_clear_levels_are_read(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    for name in ("cmyk.jpg", "cmyk.tif"):
        assert np.abs(read_picture(tmp_path / name, 8, "crop", (0, 0, 0))[4, 4] - np.array([255, 0, 0])).max() <= 4
    for levels, grey in ((np.full((8, 8), 0.5, np.float32), 128), (np.full((8, 8), 90.0, np.float32), 90)):
        Image.fromarray(levels).save(tmp_path / "f.tif")
        assert tuple(read_picture(tmp_path / "f.tif", 8, "crop", (0, 0, 0))[4, 4]) == (grey,) * 3
    for mode, level in (("1", 1), ("L", 7), ("RGB", (5, 6, 7)), ("I;16", 500)):
        Image.new(mode, (8, 8), level).save(tmp_path / "clear.png", transparency=level)
        assert tuple(read_picture(tmp_path / "clear.png", 8, "crop", (1, 2, 3))[4, 4]) == (1, 2, 3), mode


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_pictures_the_first_is_read(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(tmp_path / "p", kind, save_all=True, append_images=frames[1:], **options)
    assert tuple(read_picture(tmp_path / "p", 16, "crop", (0, 0, 0))[8, 8]) == (255, 0, 0)


def test_half_transparent_pixels_let_the_background_through() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(file, "PNG")
    assert np.abs(read_picture(file, 8, "stretch", (0, 0, 255))[4, 4] - np.array([128, 0, 127])).max() <= 1
