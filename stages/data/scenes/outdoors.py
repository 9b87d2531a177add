"""Pictures under the sky: ships at sea and a windmill in a landscape."""

from collections.abc import Mapping

import numpy as np

from stages.data.scenes.canvas import Array, Canvas, Colour, Point, mix, smooth
from stages.data.scenes.palette import CREAM, FIELDS, LIGHTS, THINGS, WOOD, Light, jitter, lit

COUNTS = {"one": 1, "two": 2, "three": 3}
SHIP_WIDTHS = {1: 0.64, 2: 0.43, 3: 0.285}  # length of the hull, by the number of ships
FREEBOARDS = {1: 0.145, 2: 0.13, 3: 0.118}  # height of the hull above the water
WATERLINE = 0.86


def _between(canvas: Canvas, low: float, high: float) -> float:
    return float(canvas.rng.uniform(low, high))


def _sky(canvas: Canvas, light: Light, horizon: float) -> None:
    """Fills the picture with the gradient of the sky down to the horizon."""
    fall = canvas.ramp(-0.05, horizon)[..., None] ** 1.3
    sky = np.asarray(light.zenith) * (1 - fall) + np.asarray(light.horizon) * fall
    canvas.paint(np.ones_like(canvas.x), sky.astype(np.float32), strokes=(5, 9))


def _disc(canvas: Canvas, light: Light, centre: Point, radius: float) -> None:
    """Sun or moon with its glow."""
    canvas.glow(np.exp(-(canvas.radius(centre, (3.0 * radius, 3.0 * radius)) ** 2)), light.disc, 0.35)
    canvas.paint(canvas.ellipse(centre, (radius, radius)), light.disc)


def _cloud(canvas: Canvas, centre: Point, width: float, colour: Colour, strength: float) -> None:
    """A cloud of a few soft puffs, lighter above."""
    mask = np.zeros_like(canvas.x)
    for offset, size in ((-0.32, 0.24), (-0.08, 0.34), (0.2, 0.3), (0.4, 0.18)):
        puff = (centre[0] + offset * width, centre[1] - 0.25 * size * width + _between(canvas, -0.01, 0.01))
        mask = np.maximum(mask, canvas.ellipse(puff, (size * width, 0.55 * size * width), blur=0.35))
    light = 1.08 - 0.3 * canvas.ramp(centre[1] - 0.18 * width, centre[1] + 0.12 * width)
    canvas.paint(mask * np.float32(strength), colour, light, strokes=(7, 9))


def paint_ships(canvas: Canvas, attributes: Mapping[str, str]) -> None:
    """One to three ships under sail on a calm or rough sea."""
    light, rough = LIGHTS[attributes["time"]], attributes["sea"] == "rough"
    horizon = _between(canvas, 0.56, 0.61)
    _sky(canvas, light, horizon)
    side = canvas.rng.choice((-1, 1))
    height = {"day": 0.13, "dusk": horizon - 0.05, "night": 0.14}[attributes["time"]]
    disc_x = 0.5 + side * _between(canvas, 0.3, 0.4)
    _disc(canvas, light, (disc_x, height + _between(canvas, -0.02, 0.02)), 0.075)
    cloud = mix(light.horizon, (1.0, 1.0, 1.0), 0.35 if attributes["time"] == "day" else 0.08)
    _cloud(canvas, (0.5 - side * _between(canvas, 0.2, 0.35), _between(canvas, 0.14, 0.3)), 0.4, cloud, 0.6)
    _sea(canvas, light, horizon, disc_x)
    if rough:
        _waves(canvas, light, ((horizon + 0.08, 0.022), (horizon + 0.17, 0.026)))
    _fleet(canvas, light, attributes, rough)
    if rough:
        _waves(canvas, light, ((WATERLINE + 0.005, 0.026), (WATERLINE + 0.065, 0.032), (WATERLINE + 0.13, 0.034)))
    else:
        _ripples(canvas, light)


def _fleet(canvas: Canvas, light: Light, attributes: Mapping[str, str], rough: bool) -> None:
    """The ships side by side; on a rough sea they lean."""
    count = COUNTS[attributes["count"]]
    hull, sail = (lit(THINGS[attributes[part]], light.ambient) for part in ("hull", "sail"))
    for place in range(count):
        width = SHIP_WIDTHS[count] * _between(canvas, 0.94, 1.04)
        x = (place + 0.5) / count + _between(canvas, -0.02, 0.02)
        deck = WATERLINE - FREEBOARDS[count] + _between(canvas, -0.012, 0.012)
        tilt = (
            _between(canvas, 0.05, 0.13) * float(canvas.rng.choice((-1, 1))) if rough else _between(canvas, -0.02, 0.02)
        )
        _ship(canvas, (x, deck), width, tilt, hull, sail)


def _sea(canvas: Canvas, light: Light, horizon: float, disc_x: float) -> None:
    """Water from the horizon down, with the path of sun or moon on it."""
    water = canvas.below(horizon)
    near = canvas.ramp(horizon, 1.0)
    canvas.paint(water, jitter(light.sea, canvas.rng), 1.15 - 0.35 * near, strokes=(4, 16))
    path = np.exp(-(((canvas.x - np.float32(disc_x)) / np.float32(0.09)) ** 2)) * water
    canvas.glow(path, light.disc, 0.22)


def _ripples(canvas: Canvas, light: Light) -> None:
    """Still water before the ships: a smooth edge and soft level streaks."""
    front = canvas.below(WATERLINE)
    canvas.paint(front, jitter(light.sea, canvas.rng, 0.01), 0.95 - 0.15 * canvas.ramp(WATERLINE, 1.0), strokes=(3, 12))
    streaks = np.clip(canvas.noise(3, 16), 0.0, 1.5) * canvas.below(WATERLINE + 0.01)
    canvas.glow(streaks, light.horizon, 0.10)


def _waves(canvas: Canvas, light: Light, rows: tuple[tuple[float, float], ...]) -> None:
    """Rows (level, height) of steep waves with foam, each before the one above it."""
    foam = lit((0.93, 0.96, 0.97), light.ambient)
    for level, height in rows:
        phase, length = _between(canvas, 0, 1), _between(canvas, 0.25, 0.30)
        arch = np.abs(np.sin(np.pi * (canvas.x / np.float32(length) + np.float32(phase)))) ** np.float32(0.8)
        depth = canvas.y - np.float32(level + height) + np.float32(2.2 * height) * arch
        water = np.clip(depth * canvas.size + 0.5, 0.0, 1.0)
        canvas.paint(water, light.sea, 1.15 - 1.6 * np.clip(depth, 0, 0.2), strokes=(9, 14))
        white = np.exp(-((np.clip(depth, 0, 1) / np.float32(0.024)) ** 2)) * water * arch
        canvas.paint(white * np.float32(0.8), foam)


def _turned(points: list[Point], centre: Point, width: float, tilt: float) -> list[Point]:
    """Points of a drawing of unit width, scaled, leaned by `tilt` radians and put at `centre`."""
    cosine, sine = np.cos(tilt) * width, np.sin(tilt) * width
    return [(centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine) for x, y in points]


def _ship(canvas: Canvas, centre: Point, width: float, tilt: float, hull: Colour, sail: Colour) -> None:
    """A ship of two sails; `centre` is the middle of the deck, `width` the length of the hull."""
    rng = canvas.rng
    bulge = _between(canvas, 0.02, 0.06)
    mast = _turned([(-0.02, -0.98), (0.02, -0.98), (0.025, 0.0), (-0.025, 0.0)], centre, width, tilt)
    canvas.paint(canvas.polygon(mast), WOOD)
    main = [(0.04, -0.92), (0.24 + bulge, -0.62), (0.44 + bulge, -0.12), (0.22, -0.09), (0.035, -0.1), (0.07, -0.5)]
    fore = [(-0.05, -0.84), (-0.03, -0.5), (-0.045, -0.1), (-0.26, -0.09), (-0.47 - bulge, -0.13), (-0.24, -0.5)]
    for points, shade in ((main, 1.0), (fore, 0.9)):
        shape = _turned(smooth(points), centre, width, tilt)
        middle = _turned([points[1]], centre, width, tilt)[0]
        fold = np.exp(-(canvas.radius(middle, (0.4 * width, 0.6 * width)) ** 2))
        canvas.paint(canvas.polygon(shape), jitter(sail, rng), shade * (0.86 + 0.18 * fold))
    keel = (WATERLINE + 0.05 - centre[1]) / width
    outline = [(-0.54, -0.09), (-0.3, -0.015), (0.0, 0.0), (0.3, -0.03), (0.53, -0.14), (0.48, 0.5 * keel),
               (0.40, keel), (-0.38, keel), (-0.48, 0.4 * keel)]  # fmt: skip
    mask = canvas.polygon(_turned(outline, centre, width, tilt))
    canvas.paint(mask, jitter(hull, rng), 1.08 - 0.3 * canvas.ramp(centre[1] - 0.05 * width, WATERLINE + 0.02))


def paint_windmill(canvas: Canvas, attributes: Mapping[str, str]) -> None:
    """A windmill with a large cap in a field, under clear, cloudy or rainy sky."""
    light, weather = LIGHTS[attributes["time"]], attributes["weather"]
    horizon = _between(canvas, 0.68, 0.73)
    _sky(canvas, light, horizon)
    side = float(canvas.rng.choice((-1, 1)))
    _weather(canvas, light, weather, side)
    _field(canvas, lit(FIELDS[attributes["field"]], light.ambient), horizon)
    centre = 0.5 - side * _between(canvas, 0.0, 0.06)
    scale = _between(canvas, 0.94, 1.04)
    _mill(canvas, centre, scale, light, attributes)
    if weather == "rainy":
        _rain(canvas, light)


def _weather(canvas: Canvas, light: Light, weather: str, side: float) -> None:
    """Sun or moon in a clear sky, bright clouds, or a dark lid of rain clouds."""
    if weather == "clear":
        centre = (0.5 + side * _between(canvas, 0.32, 0.37), _between(canvas, 0.13, 0.18))
        _disc(canvas, light, centre, 0.08)
    elif weather == "cloudy":
        cloud = lit(mix((0.93, 0.93, 0.95), light.horizon, 0.15), mix(light.ambient, (0.5, 0.5, 0.5), 0.1))
        for x, y, width in ((0.14, 0.2, 0.5), (0.86, 0.26, 0.5), (0.5, 0.1, 0.5), (0.1, 0.5, 0.4), (0.92, 0.52, 0.4)):
            place = (x + _between(canvas, -0.04, 0.04), y + _between(canvas, -0.03, 0.03))
            _cloud(canvas, place, width * _between(canvas, 0.9, 1.1), cloud, 0.9)
    else:
        grey = lit((0.40, 0.42, 0.46), light.ambient)
        canvas.paint(0.75 * np.ones_like(canvas.x), mix(grey, light.horizon, 0.22))
        edge = 0.2 + 0.04 * canvas.noise(5, 1)
        canvas.paint(1.0 - _soft(canvas, edge), lit((0.24, 0.25, 0.29), light.ambient))


def _soft(canvas: Canvas, edge: Array) -> Array:
    return np.clip((canvas.y - edge) / 0.1 + 0.5, 0.0, 1.0).astype(np.float32)


def _rain(canvas: Canvas, light: Light) -> None:
    """Broad slanting veils of rain over the whole picture."""
    slant, phase = _between(canvas, 0.3, 0.4), _between(canvas, 0, 1)
    veil = np.sin(2 * np.pi * (8.0 * (canvas.x + np.float32(slant) * canvas.y) + np.float32(phase)))
    strength = 0.5 + 0.5 * np.clip(canvas.noise(4, 3), -1, 1)
    rain = np.clip(veil, 0.0, 1.0) * strength * (1.0 - 0.5 * canvas.ramp(0.6, 1.0))
    canvas.glow(rain.astype(np.float32), lit((0.8, 0.84, 0.9), light.ambient), 0.22)


def _field(canvas: Canvas, colour: Colour, horizon: float) -> None:
    """The field, with furrows that widen towards the viewer."""
    bend, lift = _between(canvas, 0.0, 6.0), 0.015
    level = horizon + lift * np.sin(4.0 * canvas.x + np.float32(bend))
    ground = canvas.below(level.astype(np.float32))
    near = canvas.ramp(horizon, 1.0)
    furrow = np.sin(2 * np.pi * 4.5 * (near + 0.15) ** 0.7 + 2.0 * canvas.x)
    canvas.paint(ground, jitter(colour, canvas.rng), 1.05 - 0.18 * near + 0.05 * furrow, strokes=(6, 16))


def _mill(canvas: Canvas, centre: float, scale: float, light: Light, attributes: Mapping[str, str]) -> None:
    """Tower, cap and four blades; the foot stands at y = 0.84."""
    foot = 0.84 + _between(canvas, -0.015, 0.015)
    top, cap = foot - 0.44 * scale, foot - 0.70 * scale
    low, high = 0.215 * scale, 0.15 * scale
    canvas.shade(canvas.ellipse((centre + 0.06, foot), (0.3 * scale, 0.04), blur=0.5), 0.4)
    body = [(centre - high, top), (centre + high, top), (centre + low, foot), (centre - low, foot)]
    tower = jitter(lit(THINGS[attributes["mill"]], light.ambient), canvas.rng)
    canvas.paint(canvas.polygon(body), tower, canvas.across(centre - low, centre + low, 0.32), strokes=(14, 9))
    door = canvas.ellipse((centre, foot - 0.01), (0.055 * scale, 0.12 * scale)) * (1 - canvas.below(foot))
    canvas.paint(door.astype(np.float32), lit(WOOD, light.ambient), 0.75)
    roof = jitter(lit(THINGS[attributes["roof"]], light.ambient), canvas.rng)
    wide = 0.215 * scale
    outline = [(centre - wide, top + 0.03), (centre - 0.95 * wide, top - 0.07), (centre - 0.6 * wide, cap + 0.06),
               (centre, cap), (centre + 0.6 * wide, cap + 0.06), (centre + 0.95 * wide, top - 0.07),
               (centre + wide, top + 0.03), (centre, top + 0.045)]  # fmt: skip
    canvas.paint(canvas.polygon(smooth(outline)), roof, canvas.across(centre - wide, centre + wide, 0.34))
    _blades(canvas, (centre, top - 0.05 * scale), 0.40 * scale, light)


def _blades(canvas: Canvas, hub: Point, length: float, light: Light) -> None:
    """Four blades of cloth on spars, crossed like an X."""
    turn = np.pi / 4 + _between(canvas, -0.2, 0.2)
    cloth, spar = lit(CREAM, light.ambient), lit(WOOD, light.ambient)
    for quarter in range(4):
        angle = turn + quarter * np.pi / 2
        for outline, colour in (
            ([(0.3, 0.0), (1.0, 0.0), (1.0, 0.2), (0.3, 0.2)], cloth),
            ([(0.0, -0.035), (1.02, -0.035), (1.02, 0.035), (0.0, 0.035)], spar),
        ):
            canvas.paint(canvas.polygon(_turned(outline, hub, length, angle)), colour)
    canvas.paint(canvas.ellipse(hub, (0.03, 0.03)), spar, 0.8)
