"""What a sampler leaves in doubt is drawn as the network has it in float64."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stages.config.samples import SamplingOptions
from stages.prior.drawing import UNKNOWN, Drawn, gumbel_noise
from stages.prior.pixelsnail import Conditioning, PixelSNAIL
from stages.prior.sampler import Sampler, sample_by_cached_forward, sample_by_full_forward
from stages.prior.settling import Settler, guided_logits
from tests.prior.networks import CASES, LARGE, WAYS, Case, K, build, condition, make_captions, random_codes


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", WAYS)
def test_codes_are_those_of_a_network_in_float64(case: Case, options: SamplingOptions) -> None:
    network, batch = build(case), 3
    conditioning = condition(network, batch if options.guidance_scale == 1 else 2 * batch)
    noise = gumbel_noise(list(range(batch)), case.side**2, K)
    exact = copy.deepcopy(network).double(), conditioning.to(torch.float64), noise.double()
    assert torch.equal(Sampler(network).sample(conditioning, noise, options), sample_by_full_forward(*exact, options))


def roughened(network: PixelSNAIL) -> PixelSNAIL:
    """The same network, each of its weights off by some percent."""
    network, generator = copy.deepcopy(network), torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.mul_(1 + 0.03 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.mark.parametrize("options", [SamplingOptions(), SamplingOptions(0.7, 5, 0.9, 2.0), SamplingOptions(0)])
@pytest.mark.parametrize("kept", [False, True])
def test_what_a_rough_sampler_draws_is_settled(options: SamplingOptions, kept: bool) -> None:
    """With a sampler that is off a hundred thousand times as far, and says so, the true network's codes are drawn."""
    case, batch = Case(8, 2, True, 3, 1), 6
    network = build(case)
    rough, settler = roughened(network), Settler(network)
    conditioning = condition(network, batch if options.guidance_scale == 1 else 2 * batch)
    noise = gumbel_noise(list(range(batch)), case.side**2, K)
    known = None
    if kept:
        known = random_codes(case, batch)
        known[:, 2:6, 1:7] = UNKNOWN
    error = _furthest_apart(rough, network, conditioning, random_codes(case, batch), options.guidance_scale)
    asked = []

    def sample(given: Conditioning, noise: Tensor, known: Tensor, _: float) -> Drawn:
        asked.append(len(noise))
        return sample_by_cached_forward(rough, given, noise, options, known, 2 * error)

    settled = settler.settle(sample, conditioning, noise, options, known)
    assert torch.equal(settled, sample_by_full_forward(network, conditioning, noise, options, known))
    assert len(asked) > 1  # the rough one was wrong somewhere
    unsettled = sample(conditioning, noise, torch.full_like(settled, UNKNOWN) if known is None else known, 0.0).codes
    assert not torch.equal(unsettled, settled)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_rounding_stays_within_what_is_measured(guidance: float) -> None:
    """Of the distances of two logits, in float32 and in float64, over all positions and codes of other pictures."""
    torch.manual_seed(0)
    network = PixelSNAIL(replace(LARGE, side=16)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    captions = make_captions(4)
    conditioning = network.condition(captions if guidance == 1 else captions.beside_none())
    settler, codes = Settler(network), torch.randint(0, 512, (4, 16, 16))
    error = settler.error(conditioning, guidance)
    assert error / 20 < _furthest_apart(network, settler.exact, conditioning, codes, guidance) < error
    assert error < 1e-3


def _furthest_apart(
    network: PixelSNAIL, exact: PixelSNAIL, conditioning: Conditioning, codes: Tensor, guidance: float
) -> float:
    """How far the distance of two logits of one network is at most off those of another."""
    exact_logits = guided_logits(exact, conditioning.to(exact.embedding.weight.dtype), codes, guidance)
    off = guided_logits(network, conditioning, codes, guidance) - exact_logits
    return float((off.amax(dim=1) - off.amin(dim=1)).max())


def test_a_network_that_rounds_nothing_is_hardly_ever_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(8, 0, True, 3, 1)
    network = build(case).double()
    decided: list[int] = []
    decide: Callable[..., Tensor] = Settler.decide

    def counting(
        self: Settler, conditioning: Conditioning, noise: Tensor, options: SamplingOptions, drawn: Drawn
    ) -> Tensor:
        decided.append(int(drawn.in_doubt.sum()))
        return decide(self, conditioning, noise, options, drawn)

    monkeypatch.setattr(Settler, "decide", counting)
    captions = make_captions(8)
    conditioning = network.condition(captions._replace(tokens=captions.tokens.double()))
    noise = gumbel_noise(list(range(8)), 64, K).double()
    Sampler(network).sample(conditioning, noise, SamplingOptions())
    assert decided == [0]
