"""What lies around the convolutions of a residual block, and its gradients, where a network is trained on a processor.

The library goes through the activations once for each of a dozen operations; here each is read and written once.
"""

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from stages.prior.kernels.compiling import whole_on_all_cores
from stages.prior.kernels.convolution import room_for_windows
from stages.prior.kernels.elementwise import ONE, exp, scale_of


def normed_elu(x: Tensor, gain: Tensor, reach: int) -> Tensor:
    """elu(rms_norm(x) gain) with `reach` zeros at both ends of each row: (B,H,W,C), (C,) -> windows of them."""
    out: Tensor = _NormedElu.apply(x, gain, reach)
    return out


def elu(x: Tensor, reach: int) -> Tensor:
    """elu(x) with `reach` zeros at both ends of each row: (B,H,W,C) -> windows of them."""
    out: Tensor = _Elu.apply(x, reach)
    return out


def add_gated(x: Tensor, hidden: Tensor) -> Tensor:
    """x + glu(hidden): (B,H,W,C), (B,H,W,2C) -> (B,H,W,C)."""
    out: Tensor = _AddGated.apply(x, hidden)
    return out


class _NormedElu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, reach: int) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, gain)
        ctx.reach = reach
        out = room_for_windows(x, reach)
        _normed_elu(_array(x), _array(gain), reach, _array(out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, gain = ctx.saved_tensors
        of_x, of_gain = torch.empty_like(x), x.new_zeros(*x.shape[:2], len(gain))
        _normed_elu_gradient(
            _array(gradients[0].contiguous()), _array(x), _array(gain), ctx.reach, _array(of_x), _array(of_gain)
        )
        return of_x, of_gain.sum(dim=(0, 1)), None


class _Elu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, reach: int) -> Tensor:
        x = x.contiguous()
        out = room_for_windows(x, reach)
        _elu(_array(x), reach, _array(out))
        ctx.save_for_backward(out)
        ctx.reach, ctx.columns = reach, x.shape[2]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        of_x = out.new_empty(*out.shape[:2], ctx.columns, out.shape[3])
        _elu_gradient(_array(gradients[0].contiguous()), _array(out), ctx.reach, _array(of_x))
        return of_x, None


class _AddGated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, hidden: Tensor) -> Tensor:
        hidden = hidden.contiguous()
        ctx.save_for_backward(hidden)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        _add_gated(_array(x.contiguous()), _array(hidden), _array(out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (hidden,) = ctx.saved_tensors
        of_hidden = torch.empty_like(hidden)
        _gate_gradient(_array(gradients[0].contiguous()), _array(hidden), _array(of_hidden))
        return gradients[0], of_hidden


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().numpy()
    return array


@whole_on_all_cores
def _normed_elu(x: np.ndarray, gain: np.ndarray, reach: int, out: np.ndarray) -> None:
    pictures, side, columns, channels = x.shape
    for place in prange(pictures * side):
        b, row = place // side, place % side
        for column in range(columns):
            ours, activated = x[b, row, column], out[b, row, column + reach]
            scale = scale_of(ours, channels)
            for i in range(channels):
                normed = ours[i] * scale * gain[i]
                activated[i] = exp(normed) - ONE if normed < 0 else normed


@whole_on_all_cores
def _normed_elu_gradient(
    grad: np.ndarray, x: np.ndarray, gain: np.ndarray, reach: int, of_x: np.ndarray, of_gain: np.ndarray
) -> None:
    """of_gain (B,H,C) is what each row of a picture adds to it."""
    pictures, side, columns, channels = x.shape
    for place in prange(pictures * side):
        b, row = place // side, place % side
        for column in range(columns):
            ours, theirs, mine = x[b, row, column], grad[b, row, column + reach], of_x[b, row, column]
            scale, together = scale_of(ours, channels), np.float32(0)
            for i in range(channels):
                unit = ours[i] * scale
                normed = unit * gain[i]
                of_normed = theirs[i] * (exp(normed) if normed < 0 else ONE)
                of_gain[b, row, i] += of_normed * unit
                mine[i] = of_normed * gain[i]
                together += mine[i] * unit
            together /= np.float32(channels)
            for i in range(channels):
                mine[i] = (mine[i] - ours[i] * scale * together) * scale


@whole_on_all_cores
def _elu(x: np.ndarray, reach: int, out: np.ndarray) -> None:
    pictures, side, columns, channels = x.shape
    for place in prange(pictures * side):
        b, row = place // side, place % side
        for column in range(columns):
            ours, activated = x[b, row, column], out[b, row, column + reach]
            for i in range(channels):
                activated[i] = exp(ours[i]) - ONE if ours[i] < 0 else ours[i]


@whole_on_all_cores
def _elu_gradient(grad: np.ndarray, out: np.ndarray, reach: int, of_x: np.ndarray) -> None:
    pictures, side, columns, channels = of_x.shape
    for place in prange(pictures * side):
        b, row = place // side, place % side
        for column in range(columns):
            theirs, activated, mine = grad[b, row, column + reach], out[b, row, column + reach], of_x[b, row, column]
            for i in range(channels):
                mine[i] = theirs[i] * (activated[i] + ONE if activated[i] < 0 else ONE)


@whole_on_all_cores
def _add_gated(x: np.ndarray, hidden: np.ndarray, out: np.ndarray) -> None:
    pictures, side, columns, channels = x.shape
    for place in prange(pictures * side):
        b, row = place // side, place % side
        for column in range(columns):
            ours, theirs, sums = x[b, row, column], hidden[b, row, column], out[b, row, column]
            gate = theirs[channels:]
            for i in range(channels):
                sums[i] = ours[i] + theirs[i] / (ONE + exp(-gate[i]))


@whole_on_all_cores
def _gate_gradient(grad: np.ndarray, hidden: np.ndarray, of_hidden: np.ndarray) -> None:
    pictures, side, columns, channels = grad.shape
    for place in prange(pictures * side):
        b, row = place // side, place % side
        for column in range(columns):
            ours, theirs, mine = grad[b, row, column], hidden[b, row, column], of_hidden[b, row, column]
            gate, of_gate = theirs[channels:], mine[channels:]
            for i in range(channels):  # three loops, as the compiler makes no vectors where it sees so many arrays
                mine[i] = ONE / (ONE + exp(-gate[i]))
            for i in range(channels):
                of_gate[i] = ours[i] * theirs[i] * mine[i] * (ONE - mine[i])
            for i in range(channels):
                mine[i] *= ours[i]
