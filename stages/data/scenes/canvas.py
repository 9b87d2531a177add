"""A small oil painter's canvas: anti-aliased shapes, soft light, brush strokes and varnish, in unit coordinates."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.floating[Any]]
Point = tuple[float, float]
Colour = tuple[float, float, float]

RELIEF_STRENGTH = 0.011  # standard deviation of each of the two directions of the brush relief
SUPERSAMPLING = 4  # polygons are filled at this many times the picture's side, then box-filtered
STROKE_STRENGTH = 0.022  # standard deviation of the brush strokes before masks, of a 0..1 range


@lru_cache(maxsize=8)
def _coordinates(size: int) -> tuple[Array, Array]:
    """Pixel centres x, y (size, size) in 0..1, y downwards."""
    axis = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


def smooth(points: Sequence[Point], steps: int = 8) -> list[Point]:
    """The closed Catmull-Rom curve through `points`, `steps` points to a segment."""
    p1 = np.asarray(points, dtype=np.float64)
    p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    t = (np.arange(steps) / steps)[:, None, None]
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return [(float(x), float(y)) for x, y in curve.transpose(1, 0, 2).reshape(-1, 2)]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` (0..1) of the way from `first` to `second`."""
    a, b, c = (one + (other - one) * share for one, other in zip(first, second, strict=True))
    return a, b, c


class Canvas:
    """A square picture being painted: `image` (size, size, 3) in 0..1, `x` and `y` (size, size) in 0..1."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        self.rng = rng
        self.x, self.y = _coordinates(size)
        self.image: Array = np.zeros((size, size, 3), dtype=np.float32)

    # shapes: every mask is (size, size) in 0..1

    def polygon(self, points: Sequence[Point]) -> Array:
        """The anti-aliased mask of a filled polygon."""
        side = self.size * SUPERSAMPLING
        large = Image.new("L", (side, side), 0)
        ImageDraw.Draw(large).polygon([(px * side, py * side) for px, py in points], fill=255)
        return np.asarray(large.reduce(SUPERSAMPLING), dtype=np.float32) / 255.0

    def ellipse(self, centre: Point, radii: Point, angle: float = 0.0, blur: float = 0.0) -> Array:
        """The mask of a filled ellipse, `angle` in radians; `blur` (0..1 of the radius) softens the edge."""
        distance = self.radius(centre, radii, angle)
        edge = max(blur, 1.0 / (self.size * min(radii)))
        return np.clip((1.0 - distance) / edge + 0.5, 0.0, 1.0)

    def radius(self, centre: Point, radii: Point, angle: float = 0.0) -> Array:
        """The distance from `centre` in radii of the ellipse: 1 on its edge."""
        dx, dy = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        if angle:
            cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            dx, dy = dx * cosine + dy * sine, dy * cosine - dx * sine
        return np.sqrt((dx / np.float32(radii[0])) ** 2 + (dy / np.float32(radii[1])) ** 2)

    def below(self, level: Array | float) -> Array:
        """The mask of everything below the line y = `level`, a number or one for each pixel."""
        return np.clip((self.y - level) * self.size + 0.5, 0.0, 1.0)

    # light

    def ball(self, centre: Point, radii: Point, angle: float = 0.0) -> Array:
        """The light (about 0.55..1.25) on a ball lit from the upper left."""
        nx = np.clip((self.x - np.float32(centre[0])) / np.float32(radii[0]), -1, 1)
        ny = np.clip((self.y - np.float32(centre[1])) / np.float32(radii[1]), -1, 1)
        nz = np.sqrt(np.clip(1.0 - nx * nx - ny * ny, 0.0, 1.0))
        return 0.62 + 0.58 * np.clip(-0.45 * nx - 0.5 * ny + 0.74 * nz, 0.0, 1.0)

    def across(self, left: float, right: float, strength: float = 0.3) -> Array:
        """The light on an upright cylinder between two x: bright at a third, dark at the right edge."""
        place = np.clip((self.x - left) / (right - left), 0.0, 1.0)
        return 1.05 - strength * 2.2 * (place - 0.32) ** 2 - strength * 0.5 * place

    def ramp(self, top: float, bottom: float) -> Array:
        """0 at y = `top` and above, 1 at y = `bottom` and below, straight between."""
        return np.clip((self.y - top) / (bottom - top), 0.0, 1.0)

    # paint

    def noise(self, columns: int, rows: int) -> Array:
        """Smooth noise (size, size) of about unit deviation with that many cells across and down."""
        grid = self.rng.standard_normal((rows, columns)).astype(np.float32) * 1.35
        return np.asarray(Image.fromarray(grid).resize((self.size, self.size), Image.Resampling.BICUBIC))

    def paint(
        self, mask: Array, colour: Colour | Array, light: Array | float = 1.0, strokes: tuple[int, int] = (9, 14)
    ) -> None:
        """Lays `colour` times `light` over the picture where `mask` is; (columns, rows) of strokes to the picture."""
        hue = np.asarray(colour, dtype=np.float32)
        lit = hue * (light[..., None] if isinstance(light, np.ndarray) else np.float32(light))
        texture = self.noise(*strokes) * np.float32(STROKE_STRENGTH)
        lit = lit * (1.0 + texture[..., None]) + texture[..., None] * np.float32(0.25)
        self.image += mask[..., None] * (lit - self.image)

    def glow(self, mask: Array, colour: Colour, strength: float) -> None:
        """Adds light of `colour` where `mask` is, as a screen: never beyond white."""
        added = mask[..., None] * np.asarray(colour, dtype=np.float32) * np.float32(strength)
        self.image = 1.0 - (1.0 - self.image) * (1.0 - np.clip(added, 0.0, 1.0))

    def shade(self, mask: Array, strength: float) -> None:
        """Darkens the picture by `strength` (0..1) where `mask` is."""
        self.image *= (1.0 - mask * np.float32(strength))[..., None]

    def _dragged(self) -> Array:
        """The picture with its paint dragged a little by the brush: edges waver by some quarter percent of the side."""
        reach = np.float32(0.0024 * self.size)
        top = self.size - 1.001
        x = np.clip(self.x * self.size - 0.5 + reach * self.noise(18, 26), 0.0, top)
        y = np.clip(self.y * self.size - 0.5 + reach * self.noise(26, 18), 0.0, top)
        left, above = x.astype(np.intp), y.astype(np.intp)
        across, down = (x - left)[..., None], (y - above)[..., None]
        picture = self.image.reshape(-1, 3)
        corner = above * self.size + left
        upper = picture[corner] * (1 - across) + picture[corner + 1] * across
        lower = picture[corner + self.size] * (1 - across) + picture[corner + self.size + 1] * across
        return upper * (1 - down) + lower * down

    def varnish(self) -> NDArray[np.uint8]:
        """The finished picture (size, size, 3) uint8: brush relief, warm tint, vignette, jitter of the light."""
        warmth, brightness, dark = self.rng.uniform((0.5, 0.96, 0.10), (1.1, 1.04, 0.18))
        tint = np.array([1.0, 0.975, 0.92], dtype=np.float32) ** np.float32(warmth) * np.float32(brightness)
        corner = (self.x - 0.5) ** 2 + (self.y - 0.5) ** 2
        relief = 1.0 + np.float32(RELIEF_STRENGTH) * (self.noise(14, 40) + self.noise(36, 12))
        light = relief * (1.0 - np.float32(dark * 2.0) * corner)
        picture = self._dragged() * tint * light[..., None]
        return np.clip(picture * 255.0 + 0.5, 0, 255).astype(np.uint8)
