"""A causal convolution and its gradients, where a network is trained on a processor.

The library's convolution multiplies what the mask hides as well, and the zeros above a picture: a quarter of its work
at 8x8. Here both are left out. The gradient of the input is the same convolution upside down; that of the weights is
the product of windows with gradients.

`windows` are the input with zeros at both ends of each row, so that what a position sees of a row lies in one piece.
"""

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from stages.prior.kernels.compiling import has_openmp, whole_on_all_cores
from stages.prior.kernels.elementwise import copy
from stages.prior.kernels.product import LINES, multiply_add_runs, some_lines
from stages.prior.kernels.vectors import PANEL


def is_for(x: Tensor, weight: Tensor) -> bool:
    """Whether convolving x (B,H,W,I) with weight (O,I,...) is what is compiled here: in training, in float32 on a
    processor, with channels that fill the product's tiles."""
    training = (
        has_openmp() and torch.is_grad_enabled() and weight.requires_grad and not torch.is_autocast_enabled("cpu")
    )
    in_float32 = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return training and in_float32 and not any(channels % PANEL for channels in weight.shape[:2])


def windows_of(x: Tensor, reach: int) -> Tensor:
    """(B,H,W,C) -> (B,H,W+2r,C)."""
    windows = room_for_windows(x, reach)
    windows[:, :, reach : reach + x.shape[2]] = x
    return windows


def room_for_windows(x: Tensor, reach: int) -> Tensor:
    """The same with anything where x is to lie."""
    b, h, w, c = x.shape
    return _with_ends(torch.empty(b, h, w + 2 * reach, c), reach)


def _with_ends(windows: Tensor, reach: int) -> Tensor:
    """Zeros at both ends of each row, in place."""
    windows[:, :, :reach] = 0
    windows[:, :, windows.shape[2] - reach :] = 0
    return windows


def convolve(windows: Tensor, weight: Tensor, bias: Tensor, own_taps: int) -> Tensor:
    """Causal convolution: (B,H,W+2r,I) -> (B,H,W,O). The ends of rows are given no gradient.

    Args:
        weight: (O,I,r+1,2r+1); the last of its rows is the position's own, of which the first `own_taps` are in the
            past.
        bias: (O,).
    """
    out: Tensor = _Convolution.apply(windows, weight, bias, own_taps)
    return out


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, windows: Tensor, weight: Tensor, bias: Tensor, own_taps: int) -> Tensor:
        ctx.save_for_backward(windows, weight)
        ctx.own_taps = own_taps
        reach = weight.shape[2] - 1
        out = windows.new_empty(*windows.shape[:2], windows.shape[2] - 2 * reach, len(weight))
        _multiply(windows, weight.permute(2, 3, 1, 0), bias, (0, own_taps), -1, out, 0)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        windows, weight = ctx.saved_tensors
        reach, taps = weight.shape[2] - 1, weight.shape[3]
        grad = gradients[0].contiguous()
        of_windows = _with_ends(torch.empty_like(windows), reach)
        upside_down, no_bias = weight.flip(3).permute(2, 3, 0, 1), grad.new_zeros(weight.shape[1])
        own = (taps - ctx.own_taps, taps)
        _multiply(windows_of(grad, reach), upside_down, no_bias, own, 1, of_windows, reach)
        of_weight = grad.new_zeros(reach + 1, taps, weight.shape[1], weight.shape[0])
        _add_weight_gradient(
            _rows(windows), _rows(grad), ctx.own_taps, of_weight.flatten(1, 2).numpy(), torch.get_num_threads()
        )
        return of_windows, of_weight.permute(3, 2, 0, 1), grad.sum(dim=(0, 1, 2)), None


def _multiply(
    windows: Tensor, weight: Tensor, bias: Tensor, own: tuple[int, int], step: int, out: Tensor, margin: int
) -> None:
    """Puts windows (B,H,W+2r,I) by weight (r+1,2r+1,I,O) + bias into out (B,H,W+2m,O), but for the ends of rows.

    Args:
        weight: its rows are for the grid's rows that are r, ..., 1, 0 steps away.
        own: the taps of the own row that count, from one up to another.
        step: 1 for the rows below, -1 for those above.
    """
    panels = weight.flatten(0, 2).unflatten(-1, (-1, PANEL)).transpose(0, 1).contiguous()
    _put_products(
        _rows(windows), panels.detach().numpy(), bias.detach().numpy(), len(weight) - 1, *own, step, _rows(out), margin
    )


def _rows(x: Tensor) -> np.ndarray:
    """(B,H,W,C) -> (B,H,W C)."""
    return x.detach().flatten(2).numpy()


@whole_on_all_cores
def _put_products(
    windows: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    reach: int,
    own_start: int,
    own_end: int,
    step: int,
    out: np.ndarray,
    margin: int,
) -> None:
    """windows (B,H,(W+2r) I), weight (panels, (r+1) (2r+1) I, PANEL), bias (O,), out (B,H,(W+2m) O)."""
    (pictures, side, length), panels, width = windows.shape, len(weight), len(bias)
    columns = out.shape[2] // width - 2 * margin
    channels = length // (columns + 2 * reach)
    depth = (2 * reach + 1) * channels
    start, own_depth = own_start * channels, (own_end - own_start) * channels
    for place in prange(pictures * panels):
        b, panel = place // panels, place % panels
        mine = weight[panel]
        for row in range(side):
            sums = out[b, row][margin * width + panel * PANEL :]
            for column in range(columns):
                copy(bias[panel * PANEL : (panel + 1) * PANEL], sums[column * width :])
            first = windows[b, row][start:]
            multiply_add_runs(first, channels, columns, 1, 0, own_depth, mine[reach * depth + start :], sums, width)
            away = min(reach, row if step < 0 else side - 1 - row)
            if away:
                first, weights = windows[b, row + step * away], mine[(reach - away) * depth :]
                multiply_add_runs(first, channels, columns, away, -step * length, depth, weights, sums, width)


@whole_on_all_cores
def _add_weight_gradient(windows: np.ndarray, grad: np.ndarray, own_taps: int, out: np.ndarray, shares: int) -> None:
    """windows (B,H,(W+2r) I), grad (B,H,W O), out (r+1, (2r+1) I, O), whose rows are r, ..., 1, 0 rows above.

    Each share of the work has lines of its own, so that the sums do not depend on how many there are.
    """
    pictures, side, length = windows.shape
    reach, width = len(out) - 1, out.shape[2]
    columns = grad.shape[2] // width
    channels = length // (columns + 2 * reach)
    for share in prange(shares):
        for b in range(pictures):
            for away in range(min(reach + 1, side)):
                lines = own_taps * channels if away == 0 else (2 * reach + 1) * channels
                sums = out[reach - away]
                for column in range(0, width, PANEL):
                    for line in range(share * LINES, lines, shares * LINES):
                        some_lines(
                            windows[b, 0][line:],
                            1,
                            side - away,
                            length,
                            columns,
                            channels,
                            grad[b, away][column:],
                            width,
                            sums[line][column:],
                            width,
                        )
