"""Finds pictures that are the same: exactly, or nearly (saved again, scaled, cut at the edges by a few per cent).

Near duplicates are found in two steps. A perceptual hash of 128 bits proposes: pairs that differ in few bits, looked
up by bands of bits so that no picture is compared with every other. The pictures then decide: after small shifts and
scalings have been taken out, nothing may be left that differs at any place. The hash alone would not do for drawn
pictures, which share most of their bits with a large white background: two clock faces differ in 6 bits of 128.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.data.prepared import PictureFile
from stages.data.splitting import Ties

BITS = 128
_GRID = 16  # cells a side that the hash sees
_COARSE = 4  # cells a side of a first look at the colours
_FINE = 32  # cells a side of the last look
# What a pair may differ by, in levels of 255; measured on drawn pictures (emoji) and painted ones (tarot cards): of
# pictures saved again, scaled or cut by 2 % most are within these, of different drawn ones none.
_COARSE_LIMIT = 24
_LUMA_LIMIT, _CHROMA_LIMIT = 20.0, 18.0
_MOVE_LIMIT = 1.5  # cells of the fine grid: 4.7 % of the side


@dataclass(frozen=True)
class Looks:
    """What is kept in memory of N pictures to find duplicates by: 80 bytes of each."""

    contents: NDArray[np.uint64]
    """(N, 2) hash of the whole picture: equal where the pictures are."""
    hashes: NDArray[np.uint64]
    """(N, 2) perceptual hash: few bits differ where pictures look alike."""
    colours: NDArray[np.uint8]
    """(N, 48) mean red, green, blue in 4 x 4 cells."""

    def __len__(self) -> int:
        return len(self.contents)

    @classmethod
    def empty(cls, count: int) -> Looks:
        """Room for those of `count` pictures."""
        return cls(
            np.zeros((count, 2), dtype=np.uint64),
            np.zeros((count, 2), dtype=np.uint64),
            np.zeros((count, _COARSE * _COARSE * 3), dtype=np.uint8),
        )

    def put(self, rows: range, contents: NDArray[np.uint64], thumbnails: NDArray[np.uint8]) -> None:
        """Those of the pictures in `rows`, from the hashes of their contents (B, 2) and thumbnails (B, 16, 16, 3)."""
        cells = _GRID // _COARSE
        coarse = thumbnails.reshape(len(rows), _COARSE, cells, _COARSE, cells, 3).mean(axis=(2, 4)).round()
        place = slice(rows.start, rows.stop)
        self.contents[place] = contents
        self.hashes[place] = perceptual_hash(thumbnails)
        self.colours[place] = coarse.reshape(len(rows), -1)


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 averaged in 16 x 16 cells: (16, 16, 3) uint8."""
    return np.asarray(Image.fromarray(picture).resize((_GRID, _GRID), Image.Resampling.BOX))


def perceptual_hash(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(B, 2) uint64 of thumbnails (B, 16, 16, 3) uint8.

    Signs of the lowest coefficients of the cosine transform, without the mean: 64 of the luma, 16 of each chroma; and
    the three means as thermometers of 12, 10 and 10 steps, which tell a red heart from a blue one.
    """
    planes = _luma_chroma(thumbnails.astype(np.float32))  # (3, B, 16, 16)
    waves = _COSINES @ planes @ _COSINES.T / _GRID
    signs = waves > 1.0  # a level, not 0: noise must not decide the bits of an even or symmetric picture
    u, v = _ZIGZAG[:, 0], _ZIGZAG[:, 1]
    bits = [signs[0][:, u[:64], v[:64]], signs[1][:, u[:16], v[:16]], signs[2][:, u[:16], v[:16]]]
    for plane, (low, high, steps) in zip(waves, ((20, 235, 12), (-50, 50, 10), (-50, 50, 10)), strict=True):
        bits.append(plane[:, 0, 0, None] > np.linspace(low, high, steps))
    return np.packbits(np.concatenate(bits, axis=1), axis=1).view(np.uint64)


def tie_exact(ties: Ties, contents: NDArray[np.uint64]) -> int:
    """Ties equal pictures; returns how many equal an earlier one."""
    order = np.lexsort((np.arange(len(contents)), contents[:, 1], contents[:, 0]))
    same = (contents[order[1:]] == contents[order[:-1]]).all(axis=1)
    for place in np.flatnonzero(same):
        ties.tie(int(order[place]), int(order[place + 1]))
    return int(same.sum())


def tie_near(ties: Ties, looks: Looks, pictures: PictureFile, bits: int) -> int:
    """Ties pictures that look the same; returns how many it joined to others that they were not yet tied to.

    Args:
        ties: exact duplicates are tied in it already: one of them stands for all.
        bits: the most bits of the perceptual hash that may differ.
    """
    rows = np.unique(ties.roots())
    joined = 0
    detail = lru_cache(maxsize=256)(lambda row: details(pictures.read(row)))
    for one, two in near_hashes(looks.hashes[rows], bits):
        one, two = rows[one], rows[two]
        apart = np.abs(looks.colours[one].astype(np.int16) - looks.colours[two]).max(axis=1, initial=0)
        for first, second in np.column_stack((one, two))[apart <= _COARSE_LIMIT].tolist():
            if ties.root(first) != ties.root(second) and look_same(detail(first), detail(second)):
                ties.tie(first, second)
                joined += 1
    return joined


def near_hashes(hashes: NDArray[np.uint64], bits: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every pair of hashes (N, 2) that differ in at most `bits` bits, once, as rows (one, two), some at a time.

    Cut into bits + 1 bands, two such hashes are equal in at least one: only those are compared, neighbours at a
    growing distance in the order of the band's value, in memory for N.
    """
    bands = _bands(hashes, bits + 1)
    for place, band in enumerate(bands):
        order = np.argsort(band, kind="stable")
        values, sorted_hashes = band[order], hashes[order]
        starts = np.arange(len(order))
        for distance in range(1, len(order)):
            starts = starts[starts < len(order) - distance]
            starts = starts[values[starts] == values[starts + distance]]
            if not len(starts):
                break
            differ = np.bitwise_count(sorted_hashes[starts] ^ sorted_hashes[starts + distance]).sum(axis=1)
            close = starts[differ <= bits]
            one, two = order[close], order[close + distance]
            for earlier in bands[:place]:  # a pair that an earlier band has proposed
                fresh = earlier[one] != earlier[two]
                one, two = one[fresh], two[fresh]
            if len(one):
                yield one, two


def details(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Luma and two chromas of the picture (H, W, 3) uint8, smoothed, in 32 x 32 cells: (3, 32, 32)."""
    cells = Image.fromarray(picture).resize((_FINE, _FINE), Image.Resampling.BOX)
    planes = _luma_chroma(np.asarray(cells, dtype=np.float32)[None])[:, 0]
    framed = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = framed[:, :, :-2] + 2 * framed[:, :, 1:-1] + framed[:, :, 2:]
    smoothed: NDArray[np.float32] = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 16
    return smoothed


def look_same(one: NDArray[np.float32], two: NDArray[np.float32]) -> bool:
    """Whether two pictures' details (3, 32, 32) are equal at every place, but for a small shift and scaling.

    The shift and scaling are those that explain most of the difference, to first order (Lucas and Kanade 1981).
    """
    down, across = np.gradient((one + two) / 2, axis=(1, 2))
    moves = np.stack([across, across * _PLACES[None, None, :], down, down * _PLACES[None, :, None]], axis=-1)
    equations, difference = moves.reshape(-1, 4).astype(np.float64), (two - one).ravel()
    amounts = np.linalg.solve(equations.T @ equations + np.eye(4), equations.T @ difference)
    left = np.abs(difference - equations @ amounts).reshape(one.shape)[:, 1:-1, 1:-1]  # a cut shows at the edge
    moved = max(abs(amounts[0]) + abs(amounts[1]), abs(amounts[2]) + abs(amounts[3]))
    return bool(left[0].max() <= _LUMA_LIMIT and left[1:].max() <= _CHROMA_LIMIT and moved <= _MOVE_LIMIT)


def _luma_chroma(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Y, Cb, Cr (3, B, H, W) of red, green, blue (B, H, W, 3), after ITU-R BT.601, chromas around 0."""
    red, green, blue = pictures[..., 0], pictures[..., 1], pictures[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([luma, 0.564 * (blue - luma), 0.713 * (red - luma)])


def _bands(hashes: NDArray[np.uint64], count: int) -> list[NDArray[np.uint64]]:
    """The hashes' bits dealt out to `count` bands (N,), each at most 64 bits: neighbouring bits say much the same."""
    octets = np.ascontiguousarray(hashes).view(np.uint8)  # (N, 16)
    bands = [np.zeros(len(hashes), dtype=np.uint64) for _ in range(count)]
    for bit in range(BITS):
        band = bands[bit % count]
        band <<= np.uint64(1)
        band |= octets[:, bit // 8] >> (7 - bit % 8) & 1
    return bands


def _cosines() -> NDArray[np.float32]:
    """The orthonormal cosine transform (16, 16)."""
    place, wave = np.meshgrid(np.arange(_GRID), np.arange(_GRID))
    cosines = np.cos(np.pi * (2 * place + 1) * wave / (2 * _GRID)) * np.sqrt(2 / _GRID)
    cosines[0] /= np.sqrt(2)
    return cosines.astype(np.float32)


_COSINES = _cosines()
_ZIGZAG: NDArray[np.int64] = np.array(
    sorted(np.ndindex(_GRID, _GRID), key=lambda wave: (sum(wave), wave))[1:65]
)  # lowest first
_PLACES = ((np.arange(_FINE) + 0.5) / (_FINE / 2) - 1).astype(np.float32)  # -1 to 1 from edge to edge
