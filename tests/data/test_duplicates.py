"""Which pictures count as the same, exactly or nearly, and how they are found among many."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stages.config.data import PicturesConfig
from stages.data.duplicates import near_hashes, tie_exact, tie_near
from stages.data.entries import Entry
from stages.data.prepared import PreparedWriter
from stages.data.reading import read_all
from stages.data.scenes.attributes import picture_seed, plan_split
from stages.data.scenes.painter import paint_picture
from stages.data.splitting import Ties

SIDE = 128


def clock(hour: int) -> Image.Image:
    """A clock face on white with its hand at the hour."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((8, 8, 120, 120), outline=(90, 140, 170), width=10)
    x, y = 64 + 38 * np.sin(hour * np.pi / 6), 64 - 38 * np.cos(hour * np.pi / 6)
    draw.line((64, 64, x, y), fill=(60, 40, 40), width=5)
    return image


def heart(colour: str) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for left in (20, 60):
        draw.ellipse((left, 25, left + 48, 73), fill=colour)
    draw.polygon([(24, 62), (104, 62), (64, 112)], fill=colour)
    return image


def face(mouth: tuple[int, int], eyes: int) -> Image.Image:
    """A yellow face whose mouth is this arc, in degrees, with round eyes of this radius."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 10, 118, 118), fill=(255, 205, 50))
    draw.arc((40, 60, 88, 100), *mouth, fill=(90, 50, 20), width=6)
    for x in (46, 82):
        draw.ellipse((x - eyes, 48 - eyes, x + eyes, 48 + eyes), fill=(90, 50, 20))
    return image


def drawn() -> list[Image.Image]:
    """Pictures that differ in a hand, a colour, a mouth, and share most of their surface."""
    faces = [face(mouth, eyes) for mouth in ((0, 180), (180, 360), (0, 359)) for eyes in (4, 9)]
    hearts = [heart(colour) for colour in ("red", "orange", "gold", "green", "blue", "purple", "black", "gray")]
    return [clock(hour) for hour in range(12)] + hearts + faces


def painted(count: int) -> list[Image.Image]:
    """Scenes as the program paints them, several of each combination of attributes."""
    plan = plan_split("train", count // 3, 0)
    return [
        Image.fromarray(paint_picture(attributes, SIDE, picture_seed("train", 3 * place + again, 0)))
        for place, attributes in enumerate(plan)
        for again in range(3)
    ]


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    def save(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return save


def scale(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize((round(image.width * factor),) * 2, Image.Resampling.BICUBIC)


def cut(left: int, top: int, right: int, bottom: int) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.crop((left, top, image.width - right, image.height - bottom))


CHANGES = {
    "saved at 75": jpeg(75),
    "saved at 40": jpeg(40),
    "half the size": scale(0.5),
    "larger": scale(1.7),
    "2 % cut around": cut(1, 1, 1, 1),
    "2 % cut at the left": cut(3, 0, 0, 0),
    "saved, scaled and cut": lambda image: scale(0.8)(jpeg(60)(cut(1, 1, 1, 1)(image))),
}


def groups(pictures: list[Image.Image], folder: Path, size: int = 64, bits: int = 12) -> NDArray[np.int64]:
    """One number for each picture, the same for near duplicates."""
    for row, picture in enumerate(pictures):
        picture.save(folder / f"{row}.png")
    entries = [Entry(f"{row}.png", folder / f"{row}.png", "") for row in range(len(pictures))]
    with PreparedWriter(folder, size).open_pictures(len(entries)) as file:
        looks = read_all(entries, file, PicturesConfig())
        ties = Ties(len(entries))
        before = tie_exact(ties, looks.contents)
        joined = tie_near(ties, looks, file, bits)
    roots = ties.roots()
    assert len(set(roots.tolist())) == len(entries) - before - joined
    return roots


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_near_duplicates(change: str, size: int, tmp_path: Path) -> None:
    originals = drawn() + painted(12)
    found = groups(originals + [CHANGES[change](picture) for picture in originals], tmp_path, size)
    count = len(originals)
    assert len(set(found[:count].tolist())) == count
    assert found[:count].tolist() == found[count:].tolist()


@pytest.mark.parametrize("size", [32, 64])
def test_different_pictures_are_not(size: int, tmp_path: Path) -> None:
    found = groups(drawn() + painted(150), tmp_path, size)
    count = len(drawn())
    assert len(set(found[:count].tolist())) == count
    assert len(set(found.tolist())) >= len(found) - 2  # chance does paint the same candle twice, but for its shadow


def test_exact_duplicates_are_tied_whatever_their_number() -> None:
    contents = np.array([[1, 2], [3, 4], [1, 2], [1, 5], [3, 4], [1, 2]], dtype=np.uint64)
    ties = Ties(6)
    assert tie_exact(ties, contents) == 3
    assert ties.roots().tolist() == [0, 1, 0, 3, 1, 0]


@pytest.mark.parametrize("bits", [1, 5, 12, 32])
def test_the_lookup_finds_every_close_pair_once(bits: int) -> None:
    rng = np.random.default_rng(bits)
    hashes = rng.integers(0, 1 << 63, (400, 2), dtype=np.uint64)
    hashes[200:300] = hashes[0]  # much alike, as drawn pictures are
    for row in range(100, 300):  # copies with up to 2 * bits changed bits
        source = hashes[row] if row >= 200 else hashes[row - 100]
        changed = np.unpackbits(source.view(np.uint8))
        changed[rng.choice(128, rng.integers(0, 2 * bits + 1), replace=False)] ^= 1
        hashes[row] = np.packbits(changed).view(np.uint64)
    differ = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    expected = {(one, two) for one, two in np.argwhere(differ <= bits).tolist() if one < two}
    found = [
        tuple(sorted(pair)) for one, two in near_hashes(hashes, bits) for pair in np.column_stack((one, two)).tolist()
    ]
    assert len(expected) > 50 and sorted(found) == sorted(expected)
