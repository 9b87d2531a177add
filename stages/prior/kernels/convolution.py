"""A causal convolution and its gradients, where a network is trained on a processor.

The library's convolution multiplies what the mask hides as well, and the zeros above a picture: a quarter of its work
at 8x8. Here both are left out, and the rows above take fewer multiplications (`winograd`). A position's own row is
summed product by product, so that nothing to the right of a position takes part in what is computed for it.

`windows` are the input with zeros at both ends of each row, so that what a position sees of a row lies in one piece.
"""

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from stages.prior.kernels.compiling import has_openmp, part, whole_on_all_cores
from stages.prior.kernels.elementwise import clear, copy
from stages.prior.kernels.product import multiply_add_panel, multiply_add_runs
from stages.prior.kernels.vectors import PANEL
from stages.prior.kernels.winograd import (
    MOST_TAPS,
    filtering,
    gradients_at_points,
    inputs_at_points,
    taps_of_products,
    weights_at_points,
)


def is_for(x: Tensor, weight: Tensor) -> bool:
    """Whether convolving x (B,H,W,I) with weight (O,I,...) is what is compiled here: in training, in float32 on a
    processor, with channels that fill the product's tiles, and with as many taps as are filtered well."""
    training = (
        has_openmp() and torch.is_grad_enabled() and weight.requires_grad and not torch.is_autocast_enabled("cpu")
    )
    in_float32 = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    fits = not any(channels % PANEL for channels in weight.shape[:2]) and weight.shape[3] <= MOST_TAPS
    return training and in_float32 and fits


def windows_of(x: Tensor, reach: int) -> Tensor:
    """(B,H,W,C) -> (B,H,T m + 2r,C)."""
    windows = room_for_windows(x, reach)
    windows[:, :, reach : reach + x.shape[2]] = x
    return windows


def room_for_windows(x: Tensor, reach: int) -> Tensor:
    """The same with anything where x is to lie: r columns of zeros to its left, and to its right as many and what is
    missing from the last of T pieces of m columns."""
    b, h, w, c = x.shape
    windows = x.new_empty(b, h, _length(w, reach), c)
    windows[:, :, :reach] = 0
    windows[:, :, reach + w :] = 0
    return windows


def _length(columns: int, reach: int) -> int:
    """T m + 2r of so many columns."""
    piece = filtering(2 * reach + 1).columns
    return -(-columns // piece) * piece + 2 * reach


def convolve(windows: Tensor, columns: int, weight: Tensor, bias: Tensor, own_taps: int) -> Tensor:
    """Causal convolution: windows of (B,H,W,I) -> (B,H,W,O).

    What the windows' ends get as a gradient means nothing.

    Args:
        columns: W.
        weight: (O,I,r+1,2r+1); the last of its rows is the position's own, of which the first `own_taps` are in the
            past.
        bias: (O,).
    """
    assert windows.shape[2] == _length(columns, weight.shape[2] - 1)  # compiled code does not look
    out: Tensor = _Convolution.apply(windows, columns, weight, bias, own_taps)
    return out


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, windows: Tensor, columns: int, weight: Tensor, bias: Tensor, own_taps: int) -> Tensor:
        ctx.save_for_backward(windows, weight)
        ctx.own_taps = own_taps
        (b, side, _, _), width = windows.shape, len(weight)
        by_row = weight.permute(2, 3, 1, 0).contiguous()  # (r+1,2r+1,I,O)
        how = filtering(weight.shape[3])
        out = windows.new_empty(b, side, columns, width)
        _put_products(
            _rows(windows),
            _panels(by_row[-1, :own_taps].flatten(0, 1)),
            bias.detach().numpy(),
            inputs_at_points(windows, weight.shape[3]),
            weights_at_points(by_row[:-1]),
            how.of_outputs.T.ravel(),
            how.columns,
            _rows(out),
        )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
        windows, weight = ctx.saved_tensors
        grad, own_taps, (width, channels, _, taps) = gradients[0].contiguous(), ctx.own_taps, weight.shape
        how = filtering(taps)
        at_points = gradients_at_points(grad, taps)
        upside_down = weight.permute(2, 3, 0, 1).contiguous()  # (r+1,2r+1,O,I)
        of_windows = windows.new_empty(windows.shape)
        _put_input_gradient(
            _rows(grad),
            _panels(upside_down[-1, :own_taps].flip(0).flatten(0, 1)),
            own_taps,
            at_points,
            weights_at_points(upside_down[:-1]),
            how.of_inputs.T.ravel(),
            how.columns,
            _rows(of_windows),
        )
        products = np.zeros((width // PANEL, len(how.of_taps), taps // 2 + 1, channels * PANEL), np.float32)
        _add_weight_gradient(inputs_at_points(windows, taps), at_points, grad.shape[1], products)
        of_weight = taps_of_products(products, taps)
        of_weight[-1, own_taps:] = 0
        return of_windows, None, of_weight.permute(3, 2, 0, 1), grad.sum(dim=(0, 1, 2)), None


def _rows(x: Tensor) -> np.ndarray:
    """(B,H,W,C) -> (B,H,W C)."""
    return x.detach().flatten(2).numpy()


def _panels(weight: Tensor) -> np.ndarray:
    """(D,O) -> (panels,D,PANEL)."""
    panels: np.ndarray = weight.detach().unflatten(-1, (-1, PANEL)).transpose(0, 1).contiguous().numpy()
    return panels


@whole_on_all_cores
def _put_products(
    windows: np.ndarray,
    own: np.ndarray,
    bias: np.ndarray,
    inputs: np.ndarray,
    above: np.ndarray,
    to_outputs: np.ndarray,
    columns: int,
    out: np.ndarray,
) -> None:
    """windows (B,H,(T m + 2r) I), own (panels,own taps I,PANEL), bias (O,), inputs (B,P,H T I),
    above (panels,P,r,I PANEL), to_outputs (m P,) -> out (B,H,W O)."""
    (pictures, side, _), panels, width = windows.shape, len(own), len(bias)
    channels = above.shape[3] // PANEL
    for place in prange(pictures * panels):
        b, panel = place // panels, place % panels
        for row in range(side):
            into = out[b, row][panel * PANEL :]
            for column in range(out.shape[2] // width):
                copy(bias[panel * PANEL : (panel + 1) * PANEL], into[column * width :])
            lines, depth = out.shape[2] // width, own.shape[1]
            multiply_add_panel(windows[b, row], channels, lines, depth, own[panel], into, width)
        sums = np.empty(inputs.shape[1] * inputs.shape[2] // channels * PANEL, np.float32)
        _add_rows_above(inputs[b], above[panel], to_outputs, columns, sums, panel, width, out[b])


@whole_on_all_cores
def _put_input_gradient(
    grad: np.ndarray,
    own: np.ndarray,
    own_taps: int,
    gradients: np.ndarray,
    above: np.ndarray,
    to_inputs: np.ndarray,
    columns: int,
    out: np.ndarray,
) -> None:
    """grad (B,H,W O), own (panels of I,own taps O,PANEL) from the last tap to the first, gradients (B,P,panels of
    O,H T PANEL), above (panels of I,P,r,O PANEL), to_inputs (P P,) -> out (B,H,(T m + 2r) I)."""
    (pictures, side, length), panels, depth = grad.shape, len(own), own.shape[1]
    channels, width = panels * PANEL, depth // own_taps
    reach, there = above.shape[2], length // width
    nearest = reach - own_taps + 1  # columns from an input to the nearest output that sees it
    uncut = max(there - reach, 0)
    for place in prange(pictures * panels):
        b, panel = place // panels, place % panels
        for row in range(side):
            mine = out[b, row][panel * PANEL :]
            for column in range(out.shape[2] // channels):
                clear(mine[column * channels :], PANEL)
            first, into = grad[b, row][nearest * width :], mine[reach * channels :]
            multiply_add_panel(first, width, uncut, depth, own[panel], into, channels)
            for column in range(uncut, there - nearest):  # whose outputs are cut short by the end of the row
                depth_left = (there - nearest - column) * width
                first, into = grad[b, row][(column + nearest) * width :], mine[(reach + column) * channels :]
                multiply_add_panel(first, width, 1, depth_left, own[panel], into, channels)
        sums = np.empty(gradients.shape[1] * gradients.shape[3], np.float32)
        _add_rows_below(gradients[b], above[panel], to_inputs, columns, sums, panel, channels, out[b])


@part
def _add_rows_above(
    inputs: np.ndarray,
    weight: np.ndarray,
    to_outputs: np.ndarray,
    columns: int,
    sums: np.ndarray,
    panel: int,
    width: int,
    out: np.ndarray,
) -> None:
    """One picture's inputs (P,H T I) and one panel's weight (P,r,I PANEL), by to_outputs (m P,), onto out (H,W O).

    sums (P H T PANEL,) is room to work in.
    """
    (points, rows, depth), side = weight.shape, len(out)
    channels = depth // PANEL
    pieces = inputs.shape[1] // side // channels
    of_point = side * pieces * PANEL
    clear(sums, len(sums))
    for point in range(points):
        for away in range(1, min(rows, side - 1) + 1):
            lines, into = (side - away) * pieces, sums[point * of_point + away * pieces * PANEL :]
            multiply_add_panel(inputs[point], channels, lines, channels, weight[point, rows - away], into, PANEL)
    for row in range(1, side):
        for piece in range(pieces):
            column = piece * columns
            there = min(columns, out.shape[1] // width - column)
            products, into = sums[(row * pieces + piece) * PANEL :], out[row][column * width + panel * PANEL :]
            multiply_add_runs(to_outputs, points, there, 1, 0, points, 1, products, of_point, into, width)


@part
def _add_rows_below(
    gradients: np.ndarray,
    weight: np.ndarray,
    to_inputs: np.ndarray,
    columns: int,
    sums: np.ndarray,
    panel: int,
    channels: int,
    out: np.ndarray,
) -> None:
    """The gradient of the inputs, of one picture's gradients (P,panels,H T PANEL) and one panel's weight (P,r,O PANEL),
    by to_inputs (P P,), onto out (H,(T m + 2r) I)."""
    (points, panels, of_panel), rows, side = gradients.shape, weight.shape[1], len(out)
    pieces = of_panel // PANEL // side
    of_point = side * pieces * PANEL
    clear(sums, len(sums))
    for point in range(points):
        for away in range(1, min(rows, side - 1) + 1):
            first = gradients[point, 0][away * pieces * PANEL :]
            lines, into, mine = (side - away) * pieces, sums[point * of_point :], weight[point, rows - away]
            multiply_add_runs(first, PANEL, lines, panels, of_panel, PANEL, 1, mine, PANEL, into, PANEL)
    for row in range(side - 1):
        for piece in range(pieces):
            products = sums[(row * pieces + piece) * PANEL :]
            into = out[row][piece * columns * channels + panel * PANEL :]
            multiply_add_runs(to_inputs, points, points, 1, 0, points, 1, products, of_point, into, channels)


@whole_on_all_cores
def _add_weight_gradient(inputs: np.ndarray, gradients: np.ndarray, side: int, out: np.ndarray) -> None:
    """inputs (B,P,H T I), gradients (B,P,panels,H T PANEL) -> out (panels,P,r+1,I PANEL)."""
    pictures, points, length = inputs.shape
    panels, rows, channels = len(out), out.shape[2] - 1, out.shape[3] // PANEL
    pieces = length // channels // side
    for place in prange(panels * points):
        point, panel = place // panels, place % panels
        for b in range(pictures):
            for away in range(min(rows + 1, side)):
                depth, theirs = (side - away) * pieces, gradients[b, point, panel][away * pieces * PANEL :]
                into = out[panel, point, rows - away]
                multiply_add_runs(inputs[b, point], 1, channels, 1, 0, depth, channels, theirs, PANEL, into, PANEL)
