"""Codes are drawn as likely as the network says, but for what the options leave out."""

import math

import pytest
import torch

from stages.config.samples import LOWEST_TEMPERATURE, SamplingOptions
from stages.prior.compiled.rule import rule_of
from stages.prior.drawing import draw, guide, gumbel_noise
from tests.prior.compiled import compiled_draws
from tests.prior.networks import K


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
        ({"temperature": 1e-9}, "temperature must be 0 or at least 1e-06"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"guidance_scale": math.nan}, "guid"),
        ({"guidance_scale": math.inf}, "guid"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"guidance_scale": -1}, "guid"),
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0, LOWEST_TEMPERATURE, 0.5, 1, 3])
@pytest.mark.parametrize("top_k", [0, 1, 7, 300, 1000])
@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.95, 1])
@pytest.mark.parametrize("spread", [0.01, 1, 30, 1e6])  # by the last, divided by the lowest, 100 is less than a step
def test_the_compiled_draw_is_the_other(temperature: float, top_k: int, top_p: float, spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(300, 700, generator=generator)
    noise = gumbel_noise(list(range(300)), 1, 700)[:, 0]
    expected = draw(logits, noise, SamplingOptions(temperature, top_k, top_p))
    rule = rule_of(SamplingOptions(temperature, top_k, top_p), 0.0)
    assert compiled_draws(logits.numpy(), noise.numpy(), rule)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("options", [SamplingOptions(top_k=2), SamplingOptions(top_p=0.5)])
def test_equally_likely_codes_are_all_kept(options: SamplingOptions) -> None:
    logits = torch.tensor([1.0, 0.0, 0.0, 0.0, -2.0]).expand(2000, 5)
    noise = gumbel_noise([0], 2000, 5)[0]
    rule = rule_of(options, 0.0)
    for drawn in (
        draw(logits, noise, options).tolist(),
        compiled_draws(logits.clone().numpy(), noise.numpy(), rule)[0],
    ):
        assert set(drawn) == {0, 1, 2, 3}
