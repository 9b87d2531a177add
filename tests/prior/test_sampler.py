"""Both samplers that compute each position once draw the codes of the full forward, whatever the sizes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from stages.config.samples import SamplingOptions
from stages.prior.cached import CachedForward
from stages.prior.compiled import CompiledSampler
from stages.prior.compiled.forward import begin_rows, forward, remember_codes
from stages.prior.compiled.packing import Weights, pack
from stages.prior.compiled.state import State, start_state
from stages.prior.drawing import UNKNOWN, gumbel_noise
from stages.prior.kernels.vectors import PANEL
from stages.prior.pixelsnail import Conditioning, PixelSNAIL, PixelSNAILSizes
from stages.prior.prior import condition_rows
from stages.prior.sampler import Sampler, sample_by_full_forward
from stages.prior.settling import guided_logits
from tests.prior.networks import (
    CASES,
    LARGE,
    TEXTS,
    WAYS,
    WIDTH,
    Case,
    K,
    build,
    condition,
    make_captions,
    random_codes,
)

Sampling = Callable[..., Tensor]


def sample_compiled(network: PixelSNAIL, *args: Tensor | Conditioning | SamplingOptions | None) -> Tensor:
    sampler = Sampler(network)
    assert sampler.compiled is not None
    return sampler.sample(*args)  # type: ignore[arg-type]


def sample_by_torch(network: PixelSNAIL, *args: Tensor | Conditioning | SamplingOptions | None) -> Tensor:
    sampler = Sampler(network)
    sampler.compiled = None
    return sampler.sample(*args)  # type: ignore[arg-type]


SAMPLERS = (sample_compiled, sample_by_torch)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", WAYS)
def test_cached_codes_equal_the_full_forwards(case: Case, batch: int, options: SamplingOptions) -> None:
    network = build(case)
    conditioning = condition(network, batch if options.guidance_scale == 1 else 2 * batch)
    noise = gumbel_noise(list(range(batch)), case.side**2, K)
    full = sample_by_full_forward(network, conditioning, noise, options)
    for sample in SAMPLERS:
        assert torch.equal(sample(network, conditioning, noise, options), full)


@pytest.mark.parametrize("sample", SAMPLERS)
def test_codes_and_tokens_of_several_panels(sample: Sampling) -> None:
    case, tokens = Case(12, 0, True, 3, 1, "tokens"), 2 * PANEL + 7
    network, captions = build(case), make_captions(4, tokens=tokens)
    lengths = torch.tensor([[tokens], [PANEL + 3], [PANEL - 1], [0]])
    conditioning = network.condition(captions._replace(mask=torch.arange(tokens) < lengths))
    noise = gumbel_noise(list(range(4)), case.side**2, K)
    assert case.side**2 > 2 * PANEL
    drawn = sample(network, conditioning, noise, SamplingOptions())
    assert torch.equal(drawn, sample_by_full_forward(network, conditioning, noise, SamplingOptions()))


def test_what_is_read_in_vectors_begins_at_a_cache_line() -> None:
    network = build(Case(8, 4, True, 3, 1, "tokens"))
    weights = pack(network)
    state = start_state(network, weights, condition(network, 3))
    arrays = [
        *(array for part in weights if isinstance(part, tuple) for array in part),
        *(part for part in (*weights, *state) if isinstance(part, np.ndarray)),
    ]
    aligned = [array for array in arrays if array is not state.visible and array.size]
    assert len(aligned) > 20 and all(array.ctypes.data % 64 == 0 for array in aligned)


@pytest.mark.parametrize("case", [case for case in CASES if case.side > 1])
@pytest.mark.parametrize("options", [SamplingOptions(), SamplingOptions(top_p=0.9, guidance_scale=2.0)])
@pytest.mark.parametrize("sample", SAMPLERS)
def test_known_codes_are_kept_and_looked_at(case: Case, options: SamplingOptions, sample: Sampling) -> None:
    network, batch = build(case), 3
    conditioning = condition(network, batch if options.guidance_scale == 1 else 2 * batch)
    noise = gumbel_noise(list(range(batch)), case.side**2, K)
    known = random_codes(case, batch)
    known[:, 1:3, 1:] = UNKNOWN
    drawn = sample(network, conditioning, noise, options, known)
    assert torch.equal(drawn[known != UNKNOWN], known[known != UNKNOWN])
    assert torch.equal(drawn, sample_by_full_forward(network, conditioning, noise, options, known))
    everything = sample(network, conditioning, noise, options, torch.full_like(known, UNKNOWN))
    assert torch.equal(everything, sample(network, conditioning, noise, options))
    known[:, 0] = (known[:, 0] + 1) % K  # what lies above changes what is drawn
    others = sample(network, conditioning, noise, options, known)
    assert not torch.equal(drawn[:, 1:3, 1:], others[:, 1:3, 1:])


@njit
def logits_of_each_position(weights: Weights, state: State, codes: np.ndarray) -> np.ndarray:
    """What the compiled sampler computes while it draws, (B,H,W,K), for codes (B,H,W)."""
    batch, side = codes.shape[:2]
    count = len(weights.embedding)
    logits = np.zeros((batch, side, side, count), np.float32)
    for row in range(side):
        begin_rows(weights, state, row)
        for column in range(side):
            forward(weights, state, row, column)
            logits[:, row, column] = state.logits.reshape(batch, -1)[:, :count]
            remember_codes(weights, state, codes, row, column)
    return logits


def compiled_logits(network: PixelSNAIL, conditioning: Conditioning, codes: Tensor) -> Tensor:
    """(B,H,W,K), for as many rows of codes (B,H,W) as of the conditioning."""
    weights = pack(network)
    state = start_state(network, weights, conditioning)
    return torch.from_numpy(logits_of_each_position(weights, state, codes.numpy()))


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_full_forwards(case: Case) -> None:
    network, codes = build(case), random_codes(case, 3)
    conditioning = condition(network, 3)
    full = network(codes, conditioning).movedim(1, -1)
    steps = CachedForward(network, conditioning)
    for row in range(case.side):
        for column in range(case.side):
            steps.place.move_to(row, column)
            for _ in range(2):  # as where a CUDA graph is captured: done again, it changes nothing
                if column == 0:
                    steps.begin_row()
                torch.testing.assert_close(steps.logits(), full[:, row, column], atol=1e-4, rtol=0)
                steps.remember(codes[:, row, column])
    torch.testing.assert_close(compiled_logits(network, conditioning, codes), full, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(24))
def test_codes_are_exact_for_sizes_drawn_by_chance(seed: int) -> None:
    """Widths that fill no panel, one head or many, any kernel, any number of rows."""
    chance = np.random.default_rng(seed)
    heads, scale = int(chance.choice([1, 2, 3])), int(chance.choice([1, 2]))
    side = scale * int(chance.integers(2, 6))
    sizes = PixelSNAILSizes(
        side=side,
        codebook_size=int(chance.integers(2, 150)),
        text_width=WIDTH,
        channels=heads * int(chance.integers(3, 40)),
        kernel=int(chance.choice([3, 5, 7])),
        blocks=int(chance.integers(1, 3)),
        residual_blocks=int(chance.integers(1, 3)),
        residual_channels=int(chance.integers(1, 90)),
        self_attention=bool(chance.integers(2)),
        context_side=int(chance.choice([0, side // scale])),
        context_blocks=1,
        text_layers=1,
        heads=heads,
        dropout=0.0,
        weight_norm=False,
        text=str(chance.choice(TEXTS)),
    )
    torch.manual_seed(seed)
    network = PixelSNAIL(sizes).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    batch, guidance = int(chance.integers(1, 8)), float(chance.choice([1, 2]))
    captions = make_captions(batch)
    captions = captions._replace(codes=captions.codes % sizes.codebook_size)
    context = torch.randint(0, sizes.codebook_size, (batch, sizes.context_side, sizes.context_side))
    if guidance != 1:
        captions, context = captions.beside_none(), context.repeat(2, 1, 1)
    conditioning = network.condition(captions, context if sizes.context_side else None)
    noise = gumbel_noise(list(range(batch)), side * side, sizes.codebook_size)
    options = SamplingOptions(float(chance.choice([0.5, 1])), int(chance.choice([0, 9])), 0.9, guidance)
    full = sample_by_full_forward(network, conditioning, noise, options)
    for sample in SAMPLERS:
        assert torch.equal(sample(network, conditioning, noise, options), full)
    rows = full.repeat(1 if guidance == 1 else 2, 1, 1)  # guided, each is computed with its caption and without
    expected = network(rows, conditioning).movedim(1, -1)
    torch.testing.assert_close(compiled_logits(network, conditioning, rows), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("case", [case for case in CASES if case.side > 1])
@pytest.mark.parametrize("sample", SAMPLERS)
def test_what_is_drawn_does_not_depend_on_codes_that_come_later(case: Case, sample: Sampling) -> None:
    """In each row of the batch another code is another one, known beforehand: what is drawn before it stays."""
    network, options, places = build(case), SamplingOptions(top_p=0.9, guidance_scale=2.0), case.side**2
    one = make_captions(1).take(torch.zeros(places, dtype=torch.int64))
    context = (
        torch.zeros(places, case.context_side, case.context_side, dtype=torch.int64) if case.context_side else None
    )
    conditioning = condition_rows(network, one, context, options.guidance_scale)
    noise = gumbel_noise([0] * places, places, K)
    drawn = sample(network, conditioning, noise, options)
    assert (drawn == drawn[0]).all()
    known = torch.full((places, places), UNKNOWN)
    known.diagonal().copy_((drawn[0].flatten() + 1) % K)
    moved = sample(network, conditioning, noise, options, known.view_as(drawn)).flatten(1) != drawn.flatten(1)
    assert not moved.tril(-1).any() and moved.diagonal().all()  # row i: places before i, place i
    assert moved.triu(1).any(dim=1).sum() > places / 3  # and what comes later does look at it


@pytest.mark.parametrize(("side", "channels"), [(32, 64), (16, 64), (8, 256)])
def test_logits_of_the_networks_that_are_timed_equal_the_full_forwards(side: int, channels: int) -> None:
    torch.manual_seed(side)
    sizes = replace(LARGE, side=side, channels=channels, residual_channels=channels)
    network = PixelSNAIL(sizes).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    conditioning = network.condition(make_captions(2), None)
    codes = torch.randint(0, sizes.codebook_size, (2, side, side))
    full = network(codes, conditioning).movedim(1, -1)
    assert full.std() > 0.5
    torch.testing.assert_close(compiled_logits(network, conditioning, codes), full, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("side", "batch", "guidance"), [(32, 8, 1.0), (16, 32, 2.0)])
def test_codes_of_large_grids_are_those_that_one_forward_over_them_draws(
    side: int, batch: int, guidance: float
) -> None:
    """The full forward would take minutes here; given the codes before it, each must be the one that it draws."""
    torch.manual_seed(side)
    sizes = replace(LARGE, side=side, blocks=2, residual_blocks=2)
    network = PixelSNAIL(sizes).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    options = SamplingOptions(top_p=0.95, guidance_scale=guidance)
    conditioning = condition_rows(network, make_captions(batch), None, guidance)
    noise = gumbel_noise(list(range(batch)), side * side, sizes.codebook_size)
    sampler = Sampler(network)
    codes = sampler.sample(conditioning, noise, options)
    logits = guided_logits(network, conditioning, codes, guidance)
    assert logits.std() > 0.5  # the noise alone does not settle what is drawn
    assert torch.equal(sampler.settler.redraw(conditioning, noise, options, codes).codes, codes)
    assert (codes.flatten(1)[:-1] != codes.flatten(1)[1:]).any(dim=1).all()


@pytest.mark.parametrize("case", CASES[:6])
def test_steps_that_are_rehearsed_before_they_are_captured_leave_no_trace(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What becomes a CUDA graph is run a few times first; here there is no GPU, and it is run again in its place."""
    rehearsed = []

    def rehearse(action: Callable[[], None], device: torch.device) -> Callable[[], None]:
        for _ in range(4):
            action()
        rehearsed.append(device)
        return action

    monkeypatch.setattr("stages.prior.sampler.captured", rehearse)
    network, options = build(case), SamplingOptions(top_p=0.9, guidance_scale=2.0)
    conditioning, noise = condition(network, 6), gumbel_noise([0, 1, 2], case.side**2, K)
    drawn = sample_by_torch(network, conditioning, noise, options)
    assert torch.equal(drawn, sample_by_full_forward(network, conditioning, noise, options))
    assert rehearsed == [torch.device("cpu")] * 2


def test_a_picture_is_the_same_whatever_the_batch_and_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(6, 0, True, 5, 1)
    network, captions = build(case), make_captions(7)
    noise = gumbel_noise(list(range(7)), case.side**2, K)
    sampler = Sampler(network)
    together = sampler.sample(network.condition(captions), noise, SamplingOptions())
    for cores in (1, 3, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda cores=cores: cores)
        assert torch.equal(sampler.sample(network.condition(captions), noise, SamplingOptions()), together)
    for row in range(7):
        alone = network.condition(type(captions)(*(form[row : row + 1] for form in captions)))
        assert torch.equal(sampler.sample(alone, noise[row : row + 1], SamplingOptions()), together[row : row + 1])


@pytest.mark.parametrize(
    ("side", "channels", "turns"),
    [
        (8, 64, 1),
        (32, 64, 4),  # four rows' keys and values fill the cache
        (64, 64, 16),  # one row's do, and it is more than the weights
        (16, 256, 1),  # the weights are more than all rows' keys and values
    ],
)
def test_a_turn_has_as_many_rows_as_the_cache_or_the_weights_ask_for(side: int, channels: int, turns: int) -> None:
    sizes = replace(LARGE, side=side, channels=channels, residual_channels=channels)
    assert CompiledSampler(PixelSNAIL(sizes).eval().requires_grad_(False))._turns(16) == turns


def test_turns_of_one_row_draw_what_one_turn_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(6, 0, True, 5, 1)
    network = build(case)
    conditioning, noise = condition(network, 10), gumbel_noise(list(range(5)), case.side**2, K)
    drawn = []
    for turns in (1, 2, 5):
        monkeypatch.setattr(CompiledSampler, "_turns", lambda self, rows, turns=turns: turns)
        drawn.append(Sampler(network).sample(conditioning, noise, SamplingOptions(guidance_scale=2.0)))
    assert all(torch.equal(codes, drawn[0]) for codes in drawn)


def test_what_is_not_float32_is_drawn_by_torch() -> None:
    network = build(Case(4, 0, True, 3, 1)).double()
    captions = make_captions(2)
    conditioning = network.condition(captions._replace(tokens=captions.tokens.double()))
    noise = gumbel_noise([0, 1], 16, K).double()
    sampler = Sampler(network)
    assert sampler.compiled is None
    drawn = sampler.sample(conditioning, noise, SamplingOptions())
    assert torch.equal(drawn, sample_by_full_forward(network, conditioning, noise, SamplingOptions()))


@pytest.mark.parametrize("compiled", [True, False])
def test_what_does_not_fit_is_refused(compiled: bool) -> None:
    case = Case(4, 0, True, 3, 1)
    network = build(case)
    sampler, noise, two = Sampler(network), gumbel_noise([0, 1], 16, K), condition(network, 2)
    if not compiled:
        sampler.compiled = None
    for wrong in (noise[:, :-1], noise[..., :-1], noise[:0]):
        with pytest.raises(ValueError, match=r"noise must be \(B,16,11\)"):
            sampler.sample(two, wrong, SamplingOptions())
    with pytest.raises(ValueError, match="conditioning must be of 4 rows, got 2"):
        sampler.sample(two, noise, SamplingOptions(guidance_scale=2))
    with pytest.raises(ValueError, match=r"known must be \(2,4,4\)"):
        sampler.sample(two, noise, SamplingOptions(), random_codes(case, 1))
    for code in (-2, K):
        with pytest.raises(ValueError, match=r"known codes must be in \[0,11\)"):
            sampler.sample(two, noise, SamplingOptions(), torch.full((2, 4, 4), code))
