"""What our speed is measured against computes the same."""

import copy

import pytest
import torch

from benchmarks.public import in_public_style
from stages.prior.module import bits_per_code
from stages.prior.pixelsnail import PixelSNAIL
from tests.prior.networks import CASES, Case, build, condition, make_captions, random_codes, sizes_of


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


def test_with_weight_norm_both_learn_alike() -> None:
    """Without one ours learns in another way: so the two curves could differ."""
    for weight_norm in (True, False):
        case = Case(5, 0, True, 3, 1, weight_norm=weight_norm)
        torch.manual_seed(0)
        network = PixelSNAIL(sizes_of(case)).eval()  # nothing is dropped by chance
        ours, public = (curve(way, case) for way in (copy.deepcopy(network), in_public_style(network)))
        gap = (ours - public).abs().max()
        assert ours[-1] < ours[0] - 1
        assert gap < 1e-3 if weight_norm else gap > 1e-2


def curve(network: PixelSNAIL, case: Case) -> torch.Tensor:
    """Bits per code (30,) while it learns, its gradients clipped."""
    network.requires_grad_(True)
    codes, captions, losses = random_codes(case, 4), make_captions(4), []
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(bits_per_code(network(codes, network.condition(captions)), codes).mean())
        losses[-1].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
    return torch.stack(losses).detach()
