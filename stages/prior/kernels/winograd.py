"""Fewer multiplications for the rows above: Winograd's minimal filtering (Lavin & Gray, arXiv:1509.09308), in one
dimension, along a row.

A row is cut into pieces of m columns. m outputs of k taps are products of polynomials: with the m+k-1 inputs that a
piece sees and the taps both taken to as many points, a multiplication for each point does what took m k of them, and
they are summed over channels and rows before they are taken back. With the matrices' names in the paper, B^T, G and A,
and * for number by number, what is computed of a row above is

    outputs               of_outputs^T ((of_taps taps) * (of_inputs inputs))
    gradient of inputs    of_inputs^T ((of_taps taps) * (of_outputs gradient))
    gradient of taps      of_taps^T ((of_outputs gradient) * (of_inputs inputs))

What comes out has two to four times the rounding error of the products one by one, and within a piece that reaches
every column: which is why a position's own row, whose later columns it must not know, is not convolved like this.

T pieces make a row. At points, inputs are (B,P,H T,I), gradients (B,P,panels,H T,PANEL) and the weights of some rows
(panels,P,rows,I,PANEL).
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numba import prange
from numpy.polynomial import polynomial
from torch import Tensor

from stages.prior.kernels.compiling import part, whole_on_all_cores
from stages.prior.kernels.elementwise import clear
from stages.prior.kernels.product import multiply_add_runs
from stages.prior.kernels.vectors import PANEL

_POINTS = (0, 1, -1, 2, -2, 1 / 2, -1 / 2)  # and infinity; with more, float32 loses too much
MOST_TAPS = 7


class Filtering(NamedTuple):
    """F(m, k): how m outputs of k taps are had from P = m+k-1 products."""

    columns: int
    """m, columns of a piece."""
    of_inputs: np.ndarray
    """B^T, (P,P)."""
    of_taps: np.ndarray
    """G, (P,k)."""
    of_outputs: np.ndarray
    """A, (P,m)."""


@cache
def filtering(taps: int) -> Filtering:
    """Toom and Cook's: with four columns to a piece, or fewer where that would take too many points."""
    columns = min(4, len(_POINTS) + 2 - taps)
    points = np.array(_POINTS[: columns + taps - 2])
    others = [np.delete(points, i) for i in range(len(points))]
    scales = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)])
    of_inputs = [*(polynomial.polyfromroots(rest) for rest in others), polynomial.polyfromroots(points)]
    return Filtering(
        columns,
        np.stack([np.pad(row, (0, len(points) + 1 - len(row))) for row in of_inputs]).astype(np.float32),
        _powers(points, taps, scales),
        _powers(points, columns, np.ones(len(points))),
    )


def _powers(points: np.ndarray, count: int, scales: np.ndarray) -> np.ndarray:
    """What a polynomial of so many coefficients is at the points, each divided by its scale, and at infinity."""
    finite = points[:, None] ** np.arange(count) / scales[:, None]
    return np.vstack([finite, np.eye(1, count, count - 1)]).astype(np.float32)


def inputs_at_points(windows: Tensor, taps: int) -> np.ndarray:
    """(B,H,T m + 2r,I) -> (B,P,H T I)."""
    how, (b, side, length, channels) = filtering(taps), windows.shape
    points, pieces = len(how.of_inputs), (length - taps + 1) // how.columns
    out = np.empty((b, points * side * pieces * channels), np.float32)
    _put_inputs_at_points(
        windows.detach().flatten(2).numpy(), channels, how.columns, how.of_inputs.ravel(), points, out
    )
    return out.reshape(b, points, side * pieces * channels)


def gradients_at_points(grad: Tensor, taps: int) -> np.ndarray:
    """(B,H,W,O) -> (B,P,panels,H T PANEL)."""
    how, (b, side, columns, width) = filtering(taps), grad.shape
    points, pieces = len(how.of_outputs), -(-columns // how.columns)
    out = np.empty((b, points * side * pieces * width), np.float32)
    _put_gradients_at_points(grad.detach().flatten(2).numpy(), width, how.columns, how.of_outputs.ravel(), points, out)
    return out.reshape(b, points, width // PANEL, side * pieces * PANEL)


def weights_at_points(weight: Tensor) -> np.ndarray:
    """(rows,k,I,O) -> (panels,P,rows,I PANEL)."""
    rows, taps, channels, width = weight.shape
    how = filtering(taps)
    points = len(how.of_taps)
    out = np.empty((width // PANEL, points, rows, channels * PANEL), np.float32)
    _put_weights_at_points(
        weight.detach().flatten(1).numpy(), width, taps, how.of_taps.ravel(), points, out.reshape(len(out), -1)
    )
    return out


def taps_of_products(products: np.ndarray, taps: int) -> Tensor:
    """The gradient of weights, from products of inputs and gradients: (panels,P,rows,I PANEL) -> (rows,k,I,O)."""
    panels, points, rows, depth = products.shape
    channels, width = depth // PANEL, panels * PANEL
    out = torch.empty(rows, taps, channels, width, dtype=torch.float32)
    to_taps = filtering(taps).of_taps.T.ravel()
    _put_taps(products.reshape(panels, -1), width, taps, to_taps, points, out.flatten(1).numpy())
    return out


@part
def _put(
    matrix: np.ndarray,
    matrix_stride: int,
    lines: int,
    depth: int,
    x: np.ndarray,
    x_stride: int,
    out: np.ndarray,
    out_stride: int,
) -> None:
    """out[line, :PANEL] = matrix[line, :depth] @ x[:depth, :PANEL]."""
    for line in range(lines):
        clear(out[line * out_stride :], PANEL)
    multiply_add_runs(matrix, matrix_stride, lines, 1, 0, depth, 1, x, x_stride, out, out_stride)


@whole_on_all_cores
def _put_inputs_at_points(
    windows: np.ndarray, channels: int, columns: int, of_inputs: np.ndarray, points: int, out: np.ndarray
) -> None:
    """windows (B,H,(T m + 2r) I), of_inputs (P P,) -> out (B,P H T I)."""
    pictures, side, _ = windows.shape
    of_point = out.shape[1] // points
    of_row = of_point // side
    for place in prange(pictures * side):
        b, row = place // side, place % side
        for piece in range(of_row // channels):
            for channel in range(0, channels, PANEL):
                inputs = windows[b, row][piece * columns * channels + channel :]
                into = out[b][row * of_row + piece * channels + channel :]
                _put(of_inputs, points, points, points, inputs, channels, into, of_point)


@whole_on_all_cores
def _put_gradients_at_points(
    grad: np.ndarray, width: int, columns: int, of_outputs: np.ndarray, points: int, out: np.ndarray
) -> None:
    """grad (B,H,W O), of_outputs (P m,) -> out (B,P panels H T PANEL)."""
    pictures, side, length = grad.shape
    of_point = out.shape[1] // points
    of_panel = of_point * PANEL // width
    of_row = of_panel // side
    for place in prange(pictures * side):
        b, row = place // side, place % side
        for panel in range(width // PANEL):
            for piece in range(of_row // PANEL):
                column = piece * columns
                there = min(columns, length // width - column)
                gradients = grad[b, row][column * width + panel * PANEL :]
                into = out[b][panel * of_panel + row * of_row + piece * PANEL :]
                _put(of_outputs, columns, points, there, gradients, width, into, of_point)


@whole_on_all_cores
def _put_weights_at_points(
    weight: np.ndarray, width: int, taps: int, of_taps: np.ndarray, points: int, out: np.ndarray
) -> None:
    """weight (rows,k I O), of_taps (P k,) -> out (panels,P rows I PANEL)."""
    rows, panels, of_tap = len(weight), len(out), weight.shape[1] // taps
    of_point = out.shape[1] // points
    of_row = of_point // rows
    for place in prange(panels * rows):
        panel, row = place // rows, place % rows
        for channel in range(of_tap // width):
            mine = weight[row][channel * width + panel * PANEL :]
            into = out[panel][row * of_row + channel * PANEL :]
            _put(of_taps, taps, points, taps, mine, of_tap, into, of_point)


@whole_on_all_cores
def _put_taps(products: np.ndarray, width: int, taps: int, to_taps: np.ndarray, points: int, out: np.ndarray) -> None:
    """products (panels,P rows I PANEL), to_taps (k P,) -> out (rows,k I O)."""
    rows, panels, of_tap = len(out), len(products), out.shape[1] // taps
    of_point = products.shape[1] // points
    of_row = of_point // rows
    for place in prange(panels * rows):
        panel, row = place // rows, place % rows
        for channel in range(of_tap // width):
            mine = products[panel][row * of_row + channel * PANEL :]
            into = out[row][channel * width + panel * PANEL :]
            _put(to_taps, points, taps, points, mine, of_point, into, of_tap)
