"""PixelSNAIL is causal and listens to what it is given."""

import math
from dataclasses import replace

import pytest
import torch

from stages.config.prior import LevelConfig, PriorConfig
from stages.config.samples import SamplingOptions
from stages.prior.drawing import gumbel_noise
from stages.prior.module import CodeBatch, PriorModule, bits_per_code
from stages.prior.pixelsnail import CausalConv2d, PixelSNAIL
from stages.prior.sampler import Sampler
from tests.prior.networks import CASES, SMALL, TEXTS, Case, K, build, condition, make_captions, random_codes


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


def test_text_codes_mean_something_by_their_places() -> None:
    case = Case(4, 0, True, 3, 1, "codes")
    network, codes, captions = build(case), random_codes(case, 1), make_captions(1)
    base, reversed_order = (
        network(codes, network.condition(c)) for c in (captions, captions._replace(codes=captions.codes.flip(1)))
    )
    assert (reversed_order - base).abs().max() > 0.01


def test_a_weight_norm_learns_a_direction_and_a_gain_of_what_is_in_the_past() -> None:
    conv, x = CausalConv2d(3, 4, 3, weight_norm=True), torch.randn(2, 5, 5, 3)
    plain = CausalConv2d(3, 4, 3)
    plain.load_state_dict(conv.state_dict(), strict=False)
    assert conv.gain is not None and plain.gain is None
    before = conv(x)
    torch.testing.assert_close(before, plain(x))  # it begins as the same convolution
    with torch.no_grad():
        conv.conv.weight.mul_(7)
        conv.conv.weight[:, :, -1, -1] = 100  # ahead of the position
        torch.testing.assert_close(conv(x), before)
        conv.gain.mul_(2)
        for convolution in (conv.conv, plain.conv):
            assert convolution.bias is not None
            convolution.bias.zero_()
    torch.testing.assert_close(conv(x), 2 * plain(x))


def test_bits_per_code_by_hand() -> None:
    logits, codes = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    bits = -logits.log_softmax(dim=1).gather(1, codes[:, None]).mean(dim=(1, 2, 3)) / math.log(2)
    torch.testing.assert_close(bits_per_code(logits, codes), bits)


@pytest.mark.parametrize("text", TEXTS)
def test_bfloat16_learns_as_float32_does(text: str) -> None:
    case = Case(6, 3, True, 5, 1, text)
    network, codes = build(case), random_codes(case, 4)
    captions, context = make_captions(4), torch.randint(0, K, (4, 3, 3))
    gradients = []
    for enabled in (False, True):
        network.requires_grad_(True).zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = bits_per_code(network(codes, network.condition(captions, context)), codes).mean()
        assert loss.dtype == torch.float32
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    exact, rounded = gradients
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.995


def test_bits_per_code_of_a_uniform_guess() -> None:
    codes = torch.randint(0, 8, (2, 3, 3))
    assert bits_per_code(torch.zeros(2, 8, 3, 3), codes).tolist() == pytest.approx([3.0, 3.0])


@pytest.mark.parametrize("text", TEXTS)
def test_two_captions_are_learnt(text: str) -> None:
    """Two captions, two grids: bits per code go to about 0 with the caption, to one bit for the whole grid with none,
    and stay high with the other's."""
    torch.manual_seed(0)
    grids = torch.randint(0, K, (2, 4, 4))
    captions = make_captions(2)
    batch = CodeBatch(grids, None, captions)
    with_and_without = CodeBatch(grids.repeat(2, 1, 1), None, captions.beside_none())
    sizes = replace(SMALL, blocks=1, residual_blocks=1, residual_channels=16, dropout=0.0, text=text)
    network = PixelSNAIL(sizes)
    module = PriorModule(network, LevelConfig(), PriorConfig())
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(250):
        optimizer.zero_grad()
        module._step(with_and_without).backward()
        optimizer.step()
    assert module._step(batch) < 0.02
    swapped = batch.with_others_captions()
    assert module._step(swapped) > 0.3  # only the first code needs the caption: the others follow from it
    conditioning = network.eval().condition(captions)
    drawn = Sampler(network).sample(conditioning, gumbel_noise([0, 1], 16, K), SamplingOptions(temperature=0))
    assert torch.equal(drawn, grids)
    uncaptioned = batch._replace(captions=captions.drop())
    assert module._step(uncaptioned).item() == pytest.approx(1 / 16, abs=0.02)
