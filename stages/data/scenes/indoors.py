"""Pictures on a table before a wall: fruit, a bouquet, fish on a plate, candle and book."""

from collections.abc import Mapping

import numpy as np

from stages.data.scenes.canvas import Array, Canvas, Colour, Point, mix, smooth
from stages.data.scenes.palette import BRASS, CREAM, LEAF, TABLES, THINGS, WALLS, WOOD, jitter

COUNTS = {"one": 1, "two": 2, "three": 3}
FRUIT_RADII = {1: 0.235, 2: 0.185, 3: 0.138}
FISH_PLACES = {1: (0.0,), 2: (-0.115, 0.115), 3: (-0.19, 0.0, 0.19)}  # above and below the middle of the plate
FISH_SIZES = {1: (0.70, 0.29), 2: (0.60, 0.175), 3: (0.52, 0.15)}  # length and height


def _between(canvas: Canvas, low: float, high: float) -> float:
    return float(canvas.rng.uniform(low, high))


def _room(canvas: Canvas, attributes: Mapping[str, str], edge: float) -> None:
    """The wall, lit from the upper left, and the table from y = `edge` down."""
    rng = canvas.rng
    fall = 1.1 - 0.16 * canvas.x - 0.1 * canvas.y + _between(canvas, -0.03, 0.03)
    canvas.paint(np.ones_like(canvas.x), jitter(WALLS[attributes["wall"]], rng, 0.012), fall, strokes=(7, 9))
    table = attributes["table"]
    top = canvas.below(edge)
    light = 1.04 - 0.16 * canvas.ramp(edge, 1.0)
    if table == "wooden":
        light = light + 0.05 * np.sin(2 * np.pi * (7 * canvas.y + 0.3 * canvas.noise(3, 3)))
    else:  # soft folds of cloth
        light = light + 0.035 * np.sin(2 * np.pi * (3.0 * canvas.x + 0.6 * canvas.y + _between(canvas, 0, 1)))
    canvas.paint(top, jitter(TABLES[table], rng, 0.012), light.astype(np.float32), strokes=(4, 16))
    canvas.shade(np.exp(-((np.clip(canvas.y - edge, 0, 1) / 0.02) ** 2)) * top, 0.12)


def paint_fruit(canvas: Canvas, attributes: Mapping[str, str]) -> None:
    """One to three fruits of a kind in a row on the table."""
    _room(canvas, attributes, _between(canvas, 0.54, 0.6))
    count = COUNTS[attributes["count"]]
    for place in range(count):
        radius = FRUIT_RADII[count] * _between(canvas, 0.94, 1.05)
        x = (place + 0.5) / count * 0.96 + 0.02 + _between(canvas, -0.02, 0.02)
        centre = (x, 0.79 - radius + _between(canvas, -0.015, 0.02))
        canvas.shade(canvas.ellipse((x + 0.3 * radius, centre[1] + 0.88 * radius),
                                    (1.05 * radius, 0.24 * radius), blur=0.6), 0.45)  # fmt: skip
        FRUITS[attributes["fruit"]](canvas, centre, radius)


def _shine(canvas: Canvas, centre: Point, radius: float, strength: float = 0.5) -> None:
    spot = canvas.radius((centre[0] - 0.36 * radius, centre[1] - 0.4 * radius), (0.24 * radius, 0.2 * radius))
    canvas.glow(np.exp(-(spot**2)), (1.0, 0.98, 0.92), strength)


def _stem(canvas: Canvas, foot: Point, radius: float, leaf: bool) -> None:
    """A short stem standing at `foot`, with a leaf to the right."""
    lean = _between(canvas, -0.1, 0.15) * radius
    width, height = 0.07 * radius, 0.36 * radius
    x, y = foot
    points = [(x - width, y), (x + width, y), (x + lean + width, y - height), (x + lean - width, y - height)]
    canvas.paint(canvas.polygon(points), WOOD, 0.8)
    if leaf:
        canvas.paint(canvas.ellipse((x + 0.36 * radius, y - 0.2 * radius), (0.32 * radius, 0.13 * radius), -0.4), LEAF)


def _apple(canvas: Canvas, centre: Point, radius: float) -> None:
    x, y = centre
    outline = [(0.0, -0.84), (0.42, -0.96), (0.86, -0.66), (1.0, -0.08), (0.8, 0.6), (0.36, 0.98), (0.0, 0.9),
               (-0.36, 0.98), (-0.8, 0.6), (-1.0, -0.08), (-0.86, -0.66), (-0.42, -0.96)]  # fmt: skip
    mask = canvas.polygon(smooth([(x + a * radius, y + b * radius) for a, b in outline]))
    canvas.paint(mask, jitter(THINGS["apple"], canvas.rng), canvas.ball(centre, (1.05 * radius, 1.05 * radius)))
    canvas.shade(canvas.ellipse((x, y - 0.8 * radius), (0.3 * radius, 0.13 * radius), blur=0.8), 0.5)
    _shine(canvas, centre, radius)
    _stem(canvas, (x, y - 0.78 * radius), radius, leaf=True)


def _lemon(canvas: Canvas, centre: Point, radius: float) -> None:
    x, y = centre[0], centre[1] + 0.24 * radius
    angle = _between(canvas, -0.25, 0.1)
    cosine, sine = 0.88 * np.cos(angle) * radius, 0.88 * np.sin(angle) * radius
    outline = [(-1.2, 0.0), (-0.98, -0.24), (-0.5, -0.7), (0.1, -0.82), (0.65, -0.62), (1.0, -0.22), (1.22, 0.02),
               (1.0, 0.24), (0.6, 0.66), (0.05, 0.82), (-0.55, 0.7), (-0.98, 0.24)]  # fmt: skip
    points = [(x + a * cosine - b * sine, y + a * sine + b * cosine) for a, b in outline]
    canvas.paint(canvas.polygon(smooth(points)), jitter(THINGS["lemon"], canvas.rng),
                 canvas.ball((x, y), (1.2 * radius, 0.95 * radius)))  # fmt: skip
    _shine(canvas, (x, y), 0.85 * radius, 0.4)


def _pear(canvas: Canvas, centre: Point, radius: float) -> None:
    x, y = centre
    outline = [(0.0, -1.45), (0.26, -1.34), (0.38, -0.95), (0.5, -0.5), (0.84, -0.08), (0.94, 0.42), (0.66, 0.88),
               (0.2, 1.0), (-0.2, 1.0), (-0.66, 0.88), (-0.94, 0.42), (-0.84, -0.08), (-0.5, -0.5), (-0.38, -0.95),
               (-0.26, -1.34)]  # fmt: skip
    lean = _between(canvas, -0.12, 0.12)
    points = [(x + (a - lean * b) * radius, y + b * radius) for a, b in outline]
    light = canvas.ball((x, y + 0.2 * radius), (1.1 * radius, 1.8 * radius))
    canvas.paint(canvas.polygon(smooth(points)), jitter(THINGS["pear"], canvas.rng), light)
    _shine(canvas, (x, y + 0.3 * radius), radius, 0.35)
    _stem(canvas, (x + lean * 1.4 * radius, y - 1.36 * radius), radius, leaf=False)


def _plum(canvas: Canvas, centre: Point, radius: float) -> None:
    x, y = centre
    radii = (0.94 * radius, 1.0 * radius)
    canvas.paint(canvas.ellipse(centre, radii), jitter(THINGS["plum"], canvas.rng), canvas.ball(centre, radii))
    crease = canvas.radius((x + 0.5 * radius, y), (0.62 * radius, 1.0 * radius))
    canvas.shade(np.exp(-(((crease - 1.0) / 0.09) ** 2)) * canvas.ellipse(centre, radii) * (canvas.x < x), 0.3)
    _shine(canvas, centre, radius, 0.4)


FRUITS = {"apple": _apple, "lemon": _lemon, "pear": _pear, "plum": _plum}


def paint_bouquet(canvas: Canvas, attributes: Mapping[str, str]) -> None:
    """Large blossoms of one colour over leaves, in a vase."""
    _room(canvas, attributes, _between(canvas, 0.73, 0.77))
    x, foot = 0.5 + _between(canvas, -0.05, 0.05), 0.91 + _between(canvas, -0.015, 0.015)
    scale = _between(canvas, 0.95, 1.05)
    canvas.shade(canvas.ellipse((x + 0.08, foot), (0.22 * scale, 0.045), blur=0.6), 0.45)
    heart = (x, foot - 0.60 * scale)
    for angle in np.arange(9) * 2 * np.pi / 9 + _between(canvas, 0, 0.6):
        tip = (heart[0] + 0.27 * scale * np.cos(angle), heart[1] + 0.25 * scale * np.sin(angle))
        canvas.paint(canvas.ellipse(tip, (0.11, 0.055), angle), jitter(LEAF, canvas.rng, 0.03))
    canvas.paint(canvas.ellipse(heart, (0.24 * scale, 0.22 * scale)), LEAF, 0.8)
    _vase(canvas, x, foot, scale, jitter(THINGS[attributes["vase"]], canvas.rng))
    _blossoms(canvas, heart, scale, THINGS[attributes["flowers"]])


def _vase(canvas: Canvas, x: float, foot: float, scale: float, colour: Colour) -> None:
    """A round-bellied vase standing at (x, foot), 0.36 high and 0.37 wide."""
    belly = _between(canvas, 0.18, 0.20) * scale
    half = [(0.09, 0.0), (0.14, -0.05), (belly / scale, -0.16), (0.15, -0.27), (0.085, -0.33), (0.11, -0.38)]
    right = [(x + a * scale, foot + b * scale) for a, b in half]
    left = [(2 * x - a, b) for a, b in reversed(right)]
    mask = canvas.polygon(smooth(right + left))
    light = canvas.across(x - belly, x + belly, 0.42) - 0.12 * canvas.ramp(foot - 0.3, foot)
    canvas.paint(mask, colour, light)
    _shine(canvas, (x, foot - 0.15 * scale), 0.19 * scale, 0.4)


def _blossoms(canvas: Canvas, heart: Point, scale: float, colour: Colour) -> None:
    """Seven blossoms: six around one, each of five petals around a darker heart."""
    places = [(0.19 * np.cos(a), 0.175 * np.sin(a)) for a in np.arange(6) * np.pi / 3 + _between(canvas, 0.2, 0.8)]
    for dx, dy in [*places, (0.0, 0.0)]:
        centre = (heart[0] + scale * dx + _between(canvas, -0.012, 0.012),
                  heart[1] + scale * dy + _between(canvas, -0.012, 0.012))  # fmt: skip
        radius = 0.108 * scale * _between(canvas, 0.93, 1.07)
        angles = np.arange(15) * 2 * np.pi / 15 + _between(canvas, 0, 2)
        rim = radius * (1.0 + 0.1 * np.cos(5 * angles))
        points = [(centre[0] + r * np.cos(a), centre[1] + r * np.sin(a)) for r, a in zip(rim, angles, strict=True)]
        canvas.shade(canvas.ellipse((centre[0] + 0.015, centre[1] + 0.02), (radius, radius), blur=0.4), 0.35)
        canvas.paint(canvas.polygon(smooth(points, 3)), jitter(colour, canvas.rng, 0.03),
                     canvas.ball(centre, (1.2 * radius, 1.2 * radius)))  # fmt: skip
        canvas.shade(canvas.ellipse(centre, (0.36 * radius, 0.36 * radius), blur=0.8), 0.32)


def paint_fish(canvas: Canvas, attributes: Mapping[str, str]) -> None:
    """One to three fish side by side on a large plate, seen from above."""
    _room(canvas, attributes, _between(canvas, 0.22, 0.26))
    centre = (0.5 + _between(canvas, -0.015, 0.015), 0.605 + _between(canvas, -0.015, 0.015))
    _plate(canvas, centre, THINGS[attributes["plate"]])
    count = COUNTS[attributes["count"]]
    heading = float(canvas.rng.choice((-1.0, 1.0)))
    for offset in FISH_PLACES[count]:
        length, height = (side * _between(canvas, 0.95, 1.05) for side in FISH_SIZES[count])
        middle = (centre[0] + _between(canvas, -0.015, 0.015), centre[1] + offset + _between(canvas, -0.008, 0.008))
        _one_fish(canvas, middle, length * heading, height, THINGS[attributes["fish"]])


def _plate(canvas: Canvas, centre: Point, colour: Colour) -> None:
    """A round plate: shadow, rim, and a well a little darker than the rim."""
    radii = (0.455, 0.345)
    canvas.shade(canvas.ellipse((centre[0] + 0.02, centre[1] + 0.03), (0.475, 0.365), blur=0.12), 0.55)
    hue = jitter(colour, canvas.rng)
    canvas.paint(canvas.ellipse(centre, radii), hue, 1.08 - 0.14 * canvas.x)
    canvas.shade(canvas.ellipse(centre, (0.37, 0.28), blur=0.05), 0.16)
    canvas.paint(canvas.ellipse((centre[0] + 0.004, centre[1] + 0.006), (0.36, 0.27)), hue, 0.92 + 0.1 * canvas.x)


def _one_fish(canvas: Canvas, middle: Point, length: float, height: float, colour: Colour) -> None:
    """A fish lying level, head towards the sign of `length`."""
    x, y = middle
    hue = jitter(colour, canvas.rng)
    body = [(0.5, 0.02), (0.4, -0.26), (0.2, -0.47), (-0.05, -0.46), (-0.26, -0.22), (-0.34, -0.1), (-0.48, -0.42),
            (-0.5, -0.4), (-0.45, 0.0), (-0.5, 0.4), (-0.48, 0.42), (-0.34, 0.1), (-0.26, 0.2), (-0.05, 0.42),
            (0.2, 0.43), (0.4, 0.25)]  # fmt: skip
    outline = smooth([(x + a * length, y + b * height) for a, b in body], 4)
    canvas.shade(canvas.ellipse((x, y + 0.14 * height), (0.5 * abs(length), 0.5 * height), blur=0.5), 0.3)
    back = canvas.ramp(y - 0.5 * height, y + 0.5 * height)
    canvas.paint(canvas.polygon(outline), hue, 0.84 + 0.36 * back, strokes=(14, 14))
    gill = canvas.radius((x + 0.1 * length, y), (0.19 * abs(length), 0.5 * height))
    ahead = np.clip((canvas.x - x - 0.1 * length) * np.sign(length) * 20, 0, 1)
    canvas.shade(np.exp(-(((gill - 1.0) / 0.12) ** 2)) * ahead * canvas.polygon(outline), 0.3)
    eye = (x + 0.38 * length, y - 0.08 * height)
    canvas.paint(canvas.ellipse(eye, (0.024, 0.024)), CREAM)
    canvas.paint(canvas.ellipse(eye, (0.013, 0.013)), (0.08, 0.06, 0.06))


def paint_candle(canvas: Canvas, attributes: Mapping[str, str]) -> None:
    """A burning candle in a brass holder beside a thick closed book."""
    edge = _between(canvas, 0.6, 0.64)
    _room(canvas, attributes, edge)
    side = float(canvas.rng.choice((-1.0, 1.0)))
    candle_x = 0.5 + side * _between(canvas, 0.25, 0.28)
    book_x = 0.5 - side * _between(canvas, 0.15, 0.18)
    _book(canvas, (book_x, 0.80 + _between(canvas, -0.015, 0.015)), side, THINGS[attributes["book"]])
    _burning(canvas, candle_x, 0.84 + _between(canvas, -0.015, 0.01), THINGS[attributes["candle"]])


def _burning(canvas: Canvas, x: float, foot: float, colour: Colour) -> None:
    """The candle with its holder and flame."""
    half, height = _between(canvas, 0.092, 0.102), _between(canvas, 0.48, 0.53)
    top = foot - height
    canvas.shade(canvas.ellipse((x + 0.03, foot + 0.03), (0.22, 0.05), blur=0.6), 0.4)
    canvas.paint(canvas.ellipse((x, foot), (0.18, 0.055)), BRASS, canvas.across(x - 0.18, x + 0.18, 0.5))
    stick = [(x - half, top), (x + half, top), (x + half, foot - 0.01), (x - half, foot - 0.01)]
    light = canvas.across(x - half, x + half, 0.36) + 0.12 * (1 - canvas.ramp(top, top + 0.2))
    canvas.paint(canvas.polygon(stick), jitter(colour, canvas.rng), light, strokes=(12, 8))
    canvas.paint(canvas.ellipse((x, top), (half, 0.022)), mix(colour, (1.0, 0.9, 0.7), 0.35))
    flame = (x + _between(canvas, -0.006, 0.006), top - 0.11)
    canvas.glow(np.exp(-(canvas.radius(flame, (0.25, 0.25)) ** 2)), (1.0, 0.72, 0.32), 0.4)
    tongue = [(0.0, -0.1), (0.035, -0.02), (0.048, 0.04), (0.0, 0.09), (-0.048, 0.04), (-0.035, -0.02)]
    canvas.paint(canvas.polygon(smooth([(flame[0] + a, flame[1] + b) for a, b in tongue])), (1.0, 0.82, 0.36))
    canvas.paint(canvas.ellipse((flame[0], flame[1] + 0.03), (0.022, 0.045), blur=0.4), (1.0, 0.97, 0.82))


def _book(canvas: Canvas, centre: Point, side: float, colour: Colour) -> None:
    """A thick book lying flat: cover seen from above, the cut of the pages, the lower board."""
    x, y = centre
    hue = jitter(colour, canvas.rng)
    wide, depth, thick = (size * _between(canvas, 0.96, 1.04) for size in (0.255, 0.225, 0.13))
    lean = 0.07 * side
    canvas.shade(canvas.ellipse((x + 0.03, y + thick), (0.31, 0.075), blur=0.5), 0.45)

    def board(top: float, bottom: float, left: float = -wide, right: float = wide) -> Array:
        return canvas.polygon([(x + left, top), (x + right, top), (x + right, bottom), (x + left, bottom)])

    canvas.paint(board(y, y + thick), hue, 0.72)
    canvas.paint(board(y + 0.028, y + thick - 0.028, -wide + 0.035, wide), CREAM, 0.9, strokes=(2, 40))
    cover = [(x - wide + lean, y - depth), (x + wide + lean, y - depth), (x + wide, y + 0.02), (x - wide, y + 0.02)]
    canvas.paint(canvas.polygon(cover), hue, 1.1 - 0.15 * canvas.ramp(y - depth, y))
    middle = (x + 0.5 * lean, y - 0.5 * depth + 0.01)
    ring = canvas.radius(middle, (0.1, 0.045))
    canvas.paint(np.exp(-(((ring - 1.0) / 0.25) ** 2)) * 0.7, BRASS)
