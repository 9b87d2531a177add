"""What is compiled for training computes what the library computes: values, gradients, and nothing ahead of time."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.prior.captions import Captions
from stages.prior.kernels import activation, convolution
from stages.prior.kernels.compiling import has_openmp
from stages.prior.kernels.winograd import MOST_TAPS, filtering
from stages.prior.pixelsnail import CausalConv2d, GatedResidualBlock, PixelSNAIL, PixelSNAILSizes
from tests.prior.networks import LARGE

WIDTH, K = 64, 11  # channels that fill the tiles of any processor

pytestmark = pytest.mark.skipif(not has_openmp(), reason="numba finds no OpenMP here: the library convolves")


class Shape(NamedTuple):
    batch: int
    rows: int
    columns: int
    in_channels: int
    out_channels: int
    kernel: int
    strict: bool


def shapes() -> Iterator[Shape]:
    """Every kind of edge, and some drawn by chance."""
    yield Shape(0, 2, 2, WIDTH, WIDTH, 3, False)
    yield Shape(1, 1, 1, WIDTH, WIDTH, 3, False)
    yield Shape(2, 1, 7, WIDTH, WIDTH, 7, True)  # fewer rows than the window has
    yield Shape(1, 9, 1, WIDTH, 2 * WIDTH, 5, False)
    yield Shape(2, 5, 6, 3 * WIDTH, WIDTH, 5, False)
    draw = np.random.default_rng(0)
    for _ in range(8):
        batch, rows, columns = (int(n) for n in draw.integers(1, 12, 3))
        yield Shape(
            batch,
            rows,
            columns,
            WIDTH * int(draw.integers(1, 3)),
            WIDTH * int(draw.integers(1, 3)),
            int(draw.choice([3, 5, 7])),
            bool(draw.integers(2)),
        )


@pytest.fixture
def by_the_library(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, nothing is compiled."""
    return lambda: monkeypatch.setattr(convolution, "is_for", lambda x, weight: False)


@pytest.mark.parametrize("weight_norm", [False, True])
@pytest.mark.parametrize("shape", shapes())
def test_a_convolution_and_its_gradients(shape: Shape, weight_norm: bool, by_the_library: Callable[[], None]) -> None:
    torch.manual_seed(0)
    conv = CausalConv2d(
        shape.in_channels, shape.out_channels, shape.kernel, strict=shape.strict, weight_norm=weight_norm
    )
    x = torch.randn(shape.batch, shape.rows, shape.columns, shape.in_channels, requires_grad=True)
    wanted = torch.randn(shape.batch, shape.rows, shape.columns, shape.out_channels)
    assert convolution.is_for(x, conv.conv.weight)
    ours = with_gradients(conv, (x,), (x, *conv.parameters()), wanted)
    by_the_library()
    same(ours, with_gradients(conv, (x,), (x, *conv.parameters()), wanted))


def test_windows_have_zeros_around_whole_pieces() -> None:
    x = torch.randn(2, 3, 6, 4)
    windows = convolution.windows_of(x, 2)
    assert windows.shape == (2, 3, 2 + 8 + 2, 4)  # pieces of four columns
    assert torch.equal(windows[:, :, 2:8], x)
    assert not windows[:, :, :2].any() and not windows[:, :, 8:].any()


@pytest.mark.parametrize("taps", range(3, MOST_TAPS + 1, 2))
def test_as_many_products_as_points_make_a_piece_of_outputs(taps: int) -> None:
    columns, of_inputs, of_taps, of_outputs = filtering(taps)
    draw = np.random.default_rng(0)
    inputs, weights = draw.normal(size=columns + taps - 1), draw.normal(size=taps)
    products = (of_inputs @ inputs) * (of_taps @ weights)
    assert np.allclose(of_outputs.T @ products, np.correlate(inputs, weights), atol=1e-5)
    assert len(products) < columns * taps


def test_a_convolution_of_what_does_not_lie_in_one_piece(by_the_library: Callable[[], None]) -> None:
    conv = CausalConv2d(WIDTH, WIDTH, 5)
    x = torch.randn(3, WIDTH, 4, 6, requires_grad=True)
    wanted = torch.randn(3, WIDTH, 4, 6).movedim(1, -1)

    def channels_first(x: Tensor) -> Tensor:
        return conv(x.movedim(1, -1))

    ours = with_gradients(channels_first, (x,), (x, *conv.parameters()), wanted)
    by_the_library()
    same(ours, with_gradients(channels_first, (x,), (x, *conv.parameters()), wanted))


@pytest.mark.parametrize("reach", [1, 3])
def test_activations_and_their_gradients(reach: int) -> None:
    torch.manual_seed(0)
    x, gain = (4 * torch.randn(2, 3, 5, 24)).requires_grad_(), torch.randn(24, requires_grad=True)
    with torch.no_grad():
        x[0, 0, 0] = 0  # a norm of nothing
        x[0, 0, 1] *= 30
    hidden = (4 * torch.randn(2, 3, 5, 48)).requires_grad_()
    padded, flat = torch.randn_like(convolution.windows_of(x, reach)), torch.randn(2, 3, 5, 24)

    def padded_normed_elu(x: Tensor, gain: Tensor) -> Tensor:
        return convolution.windows_of(F.elu(F.rms_norm(x, (24,), gain)), reach)

    for ours, library, inputs, wanted in (
        (lambda x, gain: activation.normed_elu(x, gain, reach), padded_normed_elu, (x, gain), padded),
        (lambda x: activation.elu(x, reach), lambda x: convolution.windows_of(F.elu(x), reach), (x,), padded),
        (activation.add_gated, lambda x, hidden: x + F.glu(hidden, dim=-1), (x, hidden), flat),
    ):
        same(with_gradients(ours, inputs, inputs, wanted), with_gradients(library, inputs, inputs, wanted))


@pytest.mark.parametrize("text", ["tokens", "pooled"])
@pytest.mark.parametrize("context_side", [0, 3])
def test_a_network_and_its_gradients(text: str, context_side: int, by_the_library: Callable[[], None]) -> None:
    network, codes = build(text, context_side), torch.randint(0, K, (3, 6, 6))
    captions, context = make_captions(3), torch.randint(0, K, (3, 3, 3)) if context_side else None

    def logits() -> Tensor:
        return network(codes, network.condition(captions, context))

    reached = list(network.parameters())
    wanted = torch.randn(3, K, 6, 6)
    ours = with_gradients(logits, (), reached, wanted)
    by_the_library()
    library = with_gradients(logits, (), reached, wanted)
    same(ours, library)
    assert not torch.equal(ours[0], library[0])  # otherwise this has not compared two ways


def test_no_code_moves_an_earlier_or_equal_position_in_training() -> None:
    network, codes = build("tokens", 3), torch.randint(0, K, (1, 6, 6))
    captions, context = make_captions(1), torch.randint(0, K, (1, 3, 3))

    def logits(codes: Tensor) -> Tensor:
        return network(codes, network.condition(captions, context)).detach().flatten(2)

    before = logits(codes)
    for place in range(36):
        changed = codes.clone()
        changed.view(-1)[place] = (changed.view(-1)[place] + 1) % K
        moved = (logits(changed) - before).abs().amax(dim=(0, 1))
        assert moved[: place + 1].max() == 0
        assert place == 35 or moved[place + 1 :].max() > 0


@pytest.mark.parametrize("strict", [True, False])
def test_no_gradient_reaches_a_later_position(strict: bool) -> None:
    conv, x = CausalConv2d(WIDTH, WIDTH, 5, strict=strict), torch.randn(1, 4, 6, WIDTH, requires_grad=True)
    out = conv(x).flatten(1, 2)
    for place in range(24):
        (gradient,) = torch.autograd.grad(out[0, place].sum(), x, retain_graph=True)
        reached = gradient[0].flatten(0, 1).abs().amax(dim=-1) > 0
        past = place if strict else place + 1
        assert not reached[past:].any()
        assert reached[:past].any() or place == 0


def test_dropout_leaves_out_what_it_says_and_its_gradient() -> None:
    torch.manual_seed(0)
    block = GatedResidualBlock(dataclasses.replace(sizes("tokens", 0), dropout=0.5)).train()
    x = torch.randn(1, 3, 3, WIDTH, dtype=torch.float32)
    kept: list[Tensor] = []
    block.dropout.register_forward_hook(lambda module, inputs, output: kept.append(output != 0))

    def loss(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return block(x, None, None).square().sum()

    step = 1e-2 * torch.randn_like(x)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    numeric = (loss(x + step) - loss(x - step)) / 2
    assert torch.isclose((gradient * step).sum(), numeric, rtol=1e-2)
    assert 0.4 < kept[0][:, :, 2:5].float().mean() < 0.6


def test_sums_do_not_depend_on_the_cores() -> None:
    torch.manual_seed(0)
    conv, x = CausalConv2d(WIDTH, WIDTH, 5), torch.randn(3, 5, 5, WIDTH, requires_grad=True)
    gain, wanted = torch.randn(WIDTH, requires_grad=True), torch.randn(3, 5, 5, WIDTH)

    def convolved(x: Tensor) -> Tensor:
        return conv.of_windows(activation.normed_elu(x, gain, 2), 5)

    cores, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(with_gradients(convolved, (x,), (x, gain, conv.conv.weight), wanted))
    finally:
        torch.set_num_threads(cores)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("part", ["conv_in", "conv_out"])
def test_what_is_no_number_stays_none(part: str) -> None:
    block, x = GatedResidualBlock(sizes("tokens", 0)), torch.randn(1, 2, 2, WIDTH)
    assert block(x, None, None).isfinite().all()
    with torch.no_grad():
        getattr(block, part).conv.bias.fill_(torch.nan)
    assert block(x, None, None).isnan().all()
    assert block(torch.full_like(x, torch.nan), None, None).isnan().all()


def test_what_is_no_number_in_a_weight_or_a_gradient_stays_none() -> None:
    conv, x = CausalConv2d(WIDTH, WIDTH, 3), torch.randn(1, 3, 4, WIDTH, requires_grad=True)
    wanted = torch.zeros(1, 3, 4, WIDTH)
    wanted[0, 1, 2, 0] = torch.nan
    (of_x,) = torch.autograd.grad(conv(x), x, wanted)
    assert of_x[0, 0, 1:].isnan().all() and of_x[0, 1, 2].isnan().all()
    with torch.no_grad():
        conv.conv.weight[0, 0, 0, 0] = torch.nan
    out = conv(x)
    assert out[0, 1:, :, 0].isnan().all()
    assert out[..., 1:].isfinite().all() and out[0, 0].isfinite().all()


def test_a_gradient_of_a_gradient_is_refused() -> None:
    conv, x = CausalConv2d(WIDTH, WIDTH, 3), torch.randn(1, 2, 2, WIDTH, requires_grad=True)
    (gradient,) = torch.autograd.grad(conv(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_library_convolves_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, x = torch.randn(WIDTH, WIDTH, 2, 3, requires_grad=True), torch.randn(1, 2, 2, WIDTH)
    assert convolution.is_for(x, weight)
    assert not convolution.is_for(x, weight.detach())
    assert not convolution.is_for(x.double(), weight.double())
    assert not convolution.is_for(x, torch.randn(WIDTH + 1, WIDTH, 2, 3, requires_grad=True))
    assert not convolution.is_for(x, torch.randn(WIDTH, WIDTH, 5, 9, requires_grad=True))
    assert not convolution.is_for(x[..., 1:], torch.randn(WIDTH, WIDTH - 1, 2, 3, requires_grad=True))
    with torch.no_grad():
        assert not convolution.is_for(x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not convolution.is_for(x, weight)
    monkeypatch.setattr(convolution, "has_openmp", lambda: False)
    assert not convolution.is_for(x, weight)


def with_gradients(
    function: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    reached: Sequence[Tensor],
    wanted: Tensor,
) -> list[Tensor]:
    """What it returns, and the gradients of its product with `wanted`; zeros for what it does not read."""
    out = function(*inputs)
    gradients = torch.autograd.grad(out, reached, wanted, allow_unused=True)
    found = [torch.zeros_like(x) if grad is None else grad for x, grad in zip(reached, gradients, strict=True)]
    return [out.detach(), *found]


def same(ours: list[Tensor], library: list[Tensor]) -> None:
    """To what float32 loses in sums of so many products."""
    for one, other in zip(ours, library, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=0, atol=2e-5 * (1 + float(other.abs().amax()) if len(other) else 0))


def sizes(text: str, context_side: int) -> PixelSNAILSizes:
    return dataclasses.replace(
        LARGE,
        side=6,
        codebook_size=K,
        channels=WIDTH,
        blocks=2,
        residual_blocks=1,
        residual_channels=WIDTH,
        context_side=context_side,
        text=text,
    )


def build(text: str, context_side: int) -> PixelSNAIL:
    torch.manual_seed(0)
    network = PixelSNAIL(sizes(text, context_side))
    with torch.no_grad():
        for parameter in network.parameters():  # zero-initialised parts would hide what they hold
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def make_captions(batch: int) -> Captions:
    torch.manual_seed(1)
    mask, codes = torch.ones(batch, 5, dtype=torch.bool), torch.zeros(batch, 8, dtype=torch.int64)
    return Captions(torch.randn(batch, 5, 12), mask, torch.randn(batch, 12), codes)
