"""The colours of the painted things, and the light of the times of day."""

from typing import NamedTuple

import numpy as np

from stages.data.scenes.canvas import Colour


def _rgb(red: int, green: int, blue: int) -> Colour:
    return red / 255, green / 255, blue / 255


# Things keep pure colours; walls and tables are muted, so that nothing painted before them is lost.
THINGS = {
    "red": _rgb(204, 42, 36),
    "yellow": _rgb(240, 194, 48),
    "white": _rgb(242, 239, 230),
    "green": _rgb(38, 142, 74),
    "blue": _rgb(42, 84, 194),
    "silver": _rgb(128, 148, 172),
    "apple": _rgb(212, 50, 38),
    "lemon": _rgb(246, 212, 58),
    "pear": _rgb(146, 168, 58),
    "plum": _rgb(112, 50, 134),
}
WALLS = {"grey": _rgb(160, 160, 156), "green": _rgb(88, 112, 84), "brown": _rgb(82, 60, 46)}
TABLES = {"white": _rgb(214, 207, 192), "wooden": _rgb(150, 98, 54), "red": _rgb(122, 30, 38)}
FIELDS = {"green": _rgb(92, 136, 58), "yellow": _rgb(222, 180, 76), "purple": _rgb(138, 92, 158)}
WOOD = _rgb(92, 62, 40)
BRASS = _rgb(190, 148, 70)
LEAF = _rgb(52, 92, 52)
CREAM = _rgb(232, 218, 184)


class Light(NamedTuple):
    """The light of a time of day: sky above and at the horizon, the sea, and what it multiplies things with."""

    zenith: Colour
    horizon: Colour
    sea: Colour
    ambient: Colour
    disc: Colour  # sun or moon


LIGHTS = {
    "day": Light(_rgb(98, 148, 198), _rgb(196, 216, 222), _rgb(58, 112, 128), (1.0, 1.0, 1.0), _rgb(255, 246, 206)),
    "dusk": Light(_rgb(96, 70, 118), _rgb(240, 152, 96), _rgb(112, 82, 100), (0.96, 0.84, 0.80), _rgb(255, 206, 120)),
    "night": Light(_rgb(14, 20, 50), _rgb(40, 58, 102), _rgb(22, 40, 72), (0.79, 0.77, 0.88), _rgb(236, 238, 224)),
}


def jitter(colour: Colour, rng: np.random.Generator, spread: float = 0.02) -> Colour:
    """`colour` moved by up to `spread` (of a 0..1 range) in each channel."""
    red, green, blue = (float(c) for c in np.clip(np.asarray(colour) + rng.uniform(-spread, spread, 3), 0.0, 1.0))
    return red, green, blue


def lit(colour: Colour, ambient: Colour) -> Colour:
    """`colour` under coloured light."""
    return colour[0] * ambient[0], colour[1] * ambient[1], colour[2] * ambient[2]
