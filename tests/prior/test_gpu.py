"""On a GPU the sampler, its steps captured as CUDA graphs, draws the codes of the full forward too."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stages.config.samples import SamplingOptions
from stages.prior.cached import CachedForward, captured
from stages.prior.drawing import UNKNOWN, gumbel_noise
from stages.prior.pixelsnail import Conditioning, PixelSNAIL
from stages.prior.sampler import Sampler, convolving_in_float32, sample_by_full_forward
from stages.prior.settling import guided_logits
from tests.prior.networks import CASES, LARGE, WAYS, Case, K, build, condition, random_codes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here"),
]


def there(conditioning: Conditioning) -> Conditioning:
    return Conditioning(*(None if form is None else form.cuda() for form in conditioning))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", WAYS)
def test_codes_equal_the_full_forwards(case: Case, options: SamplingOptions) -> None:
    network, noise = build(case), gumbel_noise([0, 1, 2], case.side**2, K).cuda()
    conditioning = there(condition(network, 3 if options.guidance_scale == 1 else 6))
    network.cuda()
    known = random_codes(case, 3).cuda()
    known[:, 1:3, 1:] = UNKNOWN
    sampler = Sampler(network)
    assert sampler.compiled is None
    for given in (None, known):
        full = sample_by_full_forward(network, conditioning, noise, options, given)
        assert torch.equal(sampler.sample(conditioning, noise, options, given), full)


@pytest.mark.parametrize("case", CASES)
@convolving_in_float32()
def test_logits_of_captured_steps_equal_the_full_forwards(case: Case) -> None:
    network, codes = build(case), random_codes(case, 3).cuda()
    conditioning = there(condition(network, 3))
    full = network.cuda()(codes, conditioning).movedim(1, -1)
    with torch.inference_mode():
        steps = CachedForward(network, conditioning)
        logits: Tensor = torch.zeros_like(full[:, 0, 0])
        given = torch.zeros_like(codes[:, 0, 0])

        def step() -> None:
            logits.copy_(steps.logits())
            steps.remember(given)

        begin_row, step_again = captured(steps.begin_row, codes.device), captured(step, codes.device)
        for row in range(case.side):
            steps.place.move_to(row, 0)
            begin_row()
            for column in range(case.side):
                steps.place.move_to(row, column)
                given.copy_(codes[:, row, column])
                step_again()
                torch.testing.assert_close(logits, full[:, row, column], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("side", "context_side", "channels", "batch"), [(32, 0, 64, 32), (32, 16, 256, 8)])
def test_codes_of_large_grids_are_those_that_one_forward_over_them_draws(
    side: int, context_side: int, channels: int, batch: int
) -> None:
    torch.manual_seed(side)
    sizes = replace(LARGE, side=side, channels=channels, residual_channels=channels, context_side=context_side)
    network = PixelSNAIL(sizes).eval().requires_grad_(False)
    torch.nn.init.normal_(network.out[1].weight, std=0.1)  # type: ignore[arg-type]
    conditioning = there(condition(network, batch))
    network.cuda()
    noise = gumbel_noise(list(range(batch)), side * side, 512).cuda()
    sampler = Sampler(network)
    codes = sampler.sample(conditioning, noise, SamplingOptions())
    assert guided_logits(network, conditioning, codes, 1.0).std() > 0.5
    with convolving_in_float32():
        assert torch.equal(sampler.settler.redraw(conditioning, noise, SamplingOptions(), codes).codes, codes)


def test_a_picture_is_the_same_whatever_the_batch() -> None:
    case = Case(6, 3, True, 5, 1)
    network, noise = build(case), gumbel_noise(list(range(7)), 36, K).cuda()
    conditioning = there(condition(network, 7))
    network.cuda()
    together = Sampler(network).sample(conditioning, noise, SamplingOptions())
    for row in range(7):
        alone = Conditioning(*(None if form is None else form[row : row + 1] for form in conditioning))
        drawn = Sampler(network).sample(alone, noise[row : row + 1], SamplingOptions())
        assert torch.equal(drawn, together[row : row + 1])
