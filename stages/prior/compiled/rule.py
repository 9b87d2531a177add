"""How codes are drawn, as the compiled code is told."""

from typing import NamedTuple

from stages.config.samples import SamplingOptions
from stages.prior.doubt import ROUNDED_SHARE


class Rule(NamedTuple):
    """`SamplingOptions` as the compiled code takes them."""

    temperature: float
    top_k: int
    top_p: float
    guidance_scale: float
    error: float
    """By how much the distance of two logits, guided and divided by the temperature, may be off."""
    share_error: float
    """By how much a share of the probability may be off."""


def rule_of(options: SamplingOptions, error: float) -> Rule:
    """The options, and by how much the distance of two guided logits may be off."""
    scaled = error / (options.temperature or 1.0)
    return Rule(
        float(options.temperature),
        options.top_k,
        float(options.top_p),
        float(options.guidance_scale),
        scaled,
        scaled + ROUNDED_SHARE,
    )
