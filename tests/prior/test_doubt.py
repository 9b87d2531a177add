"""What another rounding would draw is told to be in doubt, by torch and by the compiled sampler."""

import pytest
import torch

from stages.config.samples import SamplingOptions
from stages.prior.compiled.rule import rule_of
from stages.prior.doubt import in_doubt
from stages.prior.drawing import draw, gumbel_noise
from tests.prior.compiled import compiled_draws

ROWS, CODES, ERROR = 400, 30, 0.02


@pytest.mark.parametrize("temperature", [0, 0.5, 1, 3])
@pytest.mark.parametrize("top_k", [0, 1, 7])
@pytest.mark.parametrize("top_p", [0.3, 0.95, 1])
def test_what_another_rounding_draws_was_in_doubt(temperature: float, top_k: int, top_p: float) -> None:
    """Logits are moved by so little that two are never further apart, or closer, by more than the error."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(ROWS, CODES, generator=generator)
    noise = gumbel_noise(list(range(ROWS)), 1, CODES)[:, 0]
    options = SamplingOptions(temperature, top_k, top_p)
    drawn = draw(logits, noise, options)
    doubts = in_doubt(logits, noise, options, drawn, ERROR)
    other = torch.zeros(ROWS, dtype=torch.bool)
    for _ in range(300):
        moved = logits + ERROR / 2 * torch.empty_like(logits).uniform_(-1, 1, generator=generator).sign()
        other |= draw(moved, noise, options) != drawn
    assert other.any() and not (other & ~doubts).any()
    assert doubts.float().mean() < 0.3  # and most are told to be in none
    _, beside = compiled_draws(logits.numpy().copy(), noise.numpy(), rule_of(options, ERROR))
    assert not (other.numpy() & ~beside).any() and (doubts.numpy() != beside).mean() < 0.01
