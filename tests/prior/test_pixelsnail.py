"""PixelSNAIL is causal, listens to what it is given, and its cached sampler draws the full forward's codes."""

from typing import NamedTuple, get_args

import pytest
import torch
from torch import Tensor

from stages.config.prior import LevelConfig, PriorConfig, TextForm
from stages.config.samples import SamplingOptions
from stages.prior.captions import Captions
from stages.prior.module import CodeBatch, PriorModule, bits_per_code
from stages.prior.pixelsnail import Conditioning, PixelSNAIL, PixelSNAILSizes
from stages.prior.sampler import (
    UNKNOWN,
    draw,
    guide,
    gumbel_noise,
    sample,
    sample_by_full_forward,
)

K, WIDTH = 11, 12
TEXTS = get_args(TextForm)


class Case(NamedTuple):
    side: int
    context_side: int
    self_attention: bool
    kernel: int
    text_layers: int
    text: str = "tokens"


CASES = [
    Case(*shape, text=text)
    for text in TEXTS
    for shape in (
        (4, 0, True, 3, 1),
        (5, 0, False, 5, 0),
        (6, 3, True, 5, 1),
        (8, 4, False, 3, 2),
        (8, 2, True, 3, 1),
        (1, 0, True, 3, 1),
    )
]


def build(case: Case, seed: int = 0) -> PixelSNAIL:
    torch.manual_seed(seed)
    sizes = PixelSNAILSizes(
        case.side,
        K,
        WIDTH,
        16,
        case.kernel,
        2,
        2,
        8,
        case.self_attention,
        case.context_side,
        1,
        case.text_layers,
        2,
        0.1,
        case.text,
    )
    network = PixelSNAIL(sizes).eval().requires_grad_(False)
    for parameter in network.parameters():  # zero-initialised parts would hide leaks
        parameter.add_(0.2 * torch.randn(parameter.shape))
    return network


def make_captions(batch: int, seed: int = 1) -> Captions:
    """Every form has a last axis of `WIDTH`, so that one network's sizes fit any of them."""
    generator = torch.Generator().manual_seed(seed)
    return Captions(
        torch.randn(batch, 5, WIDTH, generator=generator),
        torch.ones(batch, 5, dtype=torch.bool),
        torch.nn.functional.normalize(torch.randn(batch, WIDTH, generator=generator), dim=-1),
        torch.randint(0, K, (batch, WIDTH), generator=generator),
    )


def condition(network: PixelSNAIL, batch: int, seed: int = 1) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)
    captions = make_captions(batch, seed)
    lengths = torch.randint(0, 6, (batch, 1), generator=generator)  # some rows without any caption
    side = network.sizes.context_side
    context = torch.randint(0, K, (batch, side, side), generator=generator) if side else None
    return network.condition(captions._replace(mask=torch.arange(5) < lengths), context)


def random_codes(case: Case, batch: int) -> Tensor:
    return torch.randint(0, K, (batch, case.side, case.side), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("case", CASES)
def test_no_code_moves_an_earlier_or_equal_position(case: Case) -> None:
    network = build(case)
    conditioning = condition(network, 2)
    codes = random_codes(case, 2)
    before = network(codes, conditioning).flatten(2)
    for place in range(case.side**2):
        changed = codes.clone().flatten(1)
        changed[:, place] = (changed[:, place] + 1) % K
        moved = (network(changed.view_as(codes), conditioning).flatten(2) - before).abs().amax(dim=(0, 1))
        assert moved[: place + 1].max() == 0, f"code {place} leaks backwards"
        if (place + 1) % case.side:  # the right neighbour, on the same row
            assert moved[place + 1] > 0, f"code {place} does not reach its right neighbour"
        if place + case.side < case.side**2:
            assert moved[place + case.side] > 0, f"code {place} does not reach the position below"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(),
        SamplingOptions(temperature=0.7, top_k=5, guidance_scale=2.5),
        SamplingOptions(top_p=0.8, guidance_scale=0.0),
        SamplingOptions(temperature=0),
    ],
)
def test_cached_codes_equal_the_full_forwards(case: Case, batch: int, options: SamplingOptions) -> None:
    network = build(case)
    conditioning = condition(network, batch if options.guidance_scale == 1 else 2 * batch)
    noise = gumbel_noise(list(range(batch)), case.side**2, K)
    cached = sample(network, conditioning, noise, options)
    assert torch.equal(cached, sample_by_full_forward(network, conditioning, noise, options))


@pytest.mark.parametrize("case", [case for case in CASES if case.side > 1])
@pytest.mark.parametrize("options", [SamplingOptions(), SamplingOptions(top_p=0.9, guidance_scale=2.0)])
def test_known_codes_are_kept_and_looked_at(case: Case, options: SamplingOptions) -> None:
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


@pytest.mark.parametrize("case", CASES)
def test_cached_logits_equal_the_full_forwards(case: Case) -> None:
    from stages.prior.sampler import _CachedForward

    network, codes = build(case), random_codes(case, 3)
    conditioning = condition(network, 3)
    full = network(codes, conditioning)
    steps = _CachedForward(network, conditioning)
    for row in range(case.side):
        for column in range(case.side):
            torch.testing.assert_close(steps.logits(codes, row, column), full[:, :, row, column], atol=1e-4, rtol=0)


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_context_reach_every_position(text: str) -> None:
    case = Case(4, 2, False, 3, 1, text)
    network, codes = build(case), random_codes(case, 1)
    captions, context = make_captions(1), torch.zeros(1, 2, 2, dtype=torch.int64)
    base = network(codes, network.condition(captions, context))
    other_text = network(codes, network.condition(make_captions(1, seed=2), context))
    other_context = network(codes, network.condition(captions, context + 1))
    assert (other_text - base).abs().amax(dim=1).min() > 0
    assert (other_context - base).abs().amax(dim=1).min() > 0


@pytest.mark.parametrize("text", TEXTS)
def test_no_form_but_the_chosen_one_is_read(text: str) -> None:
    case = Case(4, 0, True, 3, 1, text)
    network, codes = build(case), random_codes(case, 2)
    captions, others = make_captions(2), make_captions(2, seed=2)
    base = network(codes, network.condition(captions))
    for form in TEXTS:
        moved = network(codes, network.condition(captions._replace(**{form: getattr(others, form)})))
        assert torch.equal(moved, base) == (form != text)


@pytest.mark.parametrize("text", TEXTS)
def test_a_dropped_caption_is_the_same_none_whatever_it_was(text: str) -> None:
    case = Case(4, 0, True, 3, 1, text)
    network, codes = build(case), random_codes(case, 1)
    captions = make_captions(1)
    none, other = (network(codes, network.condition(c.drop())) for c in (captions, make_captions(1, seed=2)))
    torch.testing.assert_close(none, other, atol=1e-5, rtol=0)
    assert (network(codes, network.condition(captions)) - none).abs().max() > 0.01
    beside = network(codes.repeat(2, 1, 1), network.condition(captions.beside_none()))
    torch.testing.assert_close(beside[1:], none, atol=1e-5, rtol=0)


def test_masked_tokens_are_not_seen() -> None:
    network = build(Case(4, 0, True, 3, 1))
    codes = random_codes(Case(4, 0, True, 3, 1), 1)
    captions = make_captions(1)._replace(mask=torch.tensor([[True, True, False, False, False]]))
    changed = captions.tokens.clone()
    changed[:, 2:] += 10
    shorter = captions._replace(tokens=captions.tokens[:, :2], mask=captions.mask[:, :2])
    base = network(codes, network.condition(captions))
    for same in (captions._replace(tokens=changed), shorter):
        torch.testing.assert_close(network(codes, network.condition(same)), base, atol=1e-5, rtol=0)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    alone, among = gumbel_noise([7], 16, K), gumbel_noise([3, 7, 9], 16, K)
    assert torch.equal(alone[0], among[1])


def test_draw_follows_the_distribution() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    noise = gumbel_noise([0], 20_000, 4)[0]
    shares = torch.bincount(draw(logits.expand(20_000, 4), noise, SamplingOptions()), minlength=4) / 20_000
    torch.testing.assert_close(shares, logits.softmax(0), atol=0.015, rtol=0)


def test_top_k_and_top_p_keep_only_the_likeliest() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(5000, 4)
    noise = gumbel_noise([0], 5000, 4)[0]
    assert set(draw(logits, noise, SamplingOptions(top_k=2)).tolist()) == {0, 1}
    assert set(draw(logits, noise, SamplingOptions(top_p=0.75)).tolist()) == {0, 1}
    assert set(draw(logits, noise, SamplingOptions(top_p=0.85)).tolist()) == {0, 1, 2}
    assert set(draw(logits, noise, SamplingOptions(temperature=0)).tolist()) == {0}


def test_guidance_extrapolates_from_none_through_the_caption() -> None:
    captioned, none = torch.randn(3, 4), torch.randn(3, 4)
    stacked = torch.cat([captioned, none])
    torch.testing.assert_close(guide(stacked, 0.0), none.log_softmax(-1))
    expected = 3 * captioned.log_softmax(-1) - 2 * none.log_softmax(-1)
    torch.testing.assert_close(guide(stacked, 3.0), expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"guidance_scale": -1}, "guid"),
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingOptions(**wrong)  # type: ignore[arg-type]


def test_bits_per_code_of_a_uniform_guess() -> None:
    codes = torch.randint(0, 8, (2, 3, 3))
    assert bits_per_code(torch.zeros(2, 8, 3, 3), codes).item() == pytest.approx(3.0)


@pytest.mark.parametrize("text", TEXTS)
def test_two_captions_are_learnt(text: str) -> None:
    """Two captions, two grids: bits per code go to about 0 with the caption, to one bit for the whole grid with none,
    and stay high with the other's."""
    torch.manual_seed(0)
    grids = torch.randint(0, K, (2, 4, 4))
    captions = make_captions(2)
    batch = CodeBatch(grids, None, captions)
    with_and_without = CodeBatch(grids.repeat(2, 1, 1), None, captions.beside_none())
    network = PixelSNAIL(PixelSNAILSizes(4, K, WIDTH, 16, 3, 1, 1, 16, True, 0, 0, 1, 2, 0.0, text))
    module = PriorModule(network, LevelConfig(), PriorConfig())
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(250):
        optimizer.zero_grad()
        module._step(with_and_without).backward()
        optimizer.step()
    assert module._step(batch) < 0.02
    swapped = batch._replace(captions=captions.shuffle())
    assert module._step(swapped) > 0.3  # only the first code needs the caption: the others follow from it
    conditioning = network.eval().condition(captions)
    drawn = sample(network, conditioning, gumbel_noise([0, 1], 16, K), SamplingOptions(temperature=0))
    assert torch.equal(drawn, grids)
    uncaptioned = batch._replace(captions=captions.drop())
    assert module._step(uncaptioned).item() == pytest.approx(1 / 16, abs=0.02)
