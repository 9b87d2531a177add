"""What our speed is measured against computes the same."""

import pytest
import torch

from benchmarks.public import in_public_style
from tests.prior.networks import CASES, Case, build, condition, random_codes


@pytest.mark.parametrize("case", CASES)
def test_the_public_style_has_the_same_logits(case: Case) -> None:
    network = build(case)
    conditioning, codes = condition(network, 3), random_codes(case, 3)
    logits = network(codes, conditioning)
    assert logits.std() > 0.1
    assert torch.allclose(in_public_style(network)(codes, conditioning), logits, atol=1e-4)


def test_training_the_public_style_leaves_what_is_not_in_the_past_out() -> None:
    network = build(CASES[0])
    public = in_public_style(network).requires_grad_(True)
    codes, conditioning = random_codes(CASES[0], 2), condition(network, 2)
    optimizer = torch.optim.SGD(public.parameters(), lr=1.0)
    public(codes, conditioning).square().mean().backward()
    optimizer.step()
    public(codes, conditioning)
    weight = public.start.conv.weight
    assert not weight[:, :, -1, network.start.reach :].any()
    assert not torch.equal(weight[:, :, :-1], network.start.conv.weight[:, :, :-1])
