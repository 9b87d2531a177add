"""A patch discriminator and the hinge losses, as VQGAN (arXiv:2012.09841) adds them to a VQ-VAE for larger pictures.

Two networks with opposite aims are trained by one backward pass and one optimiser. In the generator's loss the
discriminator's weights are constants, in the discriminator's loss the painted picture is one: the gradient of their sum
is for each network that of its own loss alone. AdamW moves each weight by its own gradient, so that one of it over both
is two of them, stepping in turn from gradients taken at the same weights. `fit` then counts, saves, resumes and
schedules as always; what it does to all gradients together, clipping, `VQVAEModule` does to each network by itself.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

SMALLEST_SIDE = 24
"""Side of the smallest picture, in pixels, that the discriminator has a patch for."""
LARGEST_WEIGHT = 1e4
"""What the adaptive weight is clipped to, as in VQGAN's published code."""


class PatchDiscriminator(nn.Module):
    """image (B,3,H,W) -> a score (B,1,h,w) for each patch of 70 x 70, high for real (arXiv:1611.07004, 6.1.2).

    Normalised over groups of channels, not over the batch as published: a score depends on its picture alone, and
    there are no running averages to be kept.

    Args:
        channels: width after the first convolution (published: 64), a multiple of 8; it doubles three times.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for width, stride in ((channels, 2), (2 * channels, 2), (4 * channels, 1)):
            layers += [nn.Conv2d(width, 2 * width, 4, stride=stride, padding=1, bias=False)]
            layers += [nn.GroupNorm(16, 2 * width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * channels, 1, 4, padding=1))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.layers(image)
        return scores


class Adversarial(NamedTuple):
    """What each network pays, ()."""

    generator: Tensor
    """Minus the mean score of the painted picture; its gradient reaches nothing but the painted picture."""
    discriminator: Tensor
    """Hinge loss; its gradient reaches nothing but the discriminator."""


def adversarial_losses(discriminator: nn.Module, image: Tensor, painted: Tensor) -> Adversarial:
    """Losses of the painted pictures (B,3,H,W) and of the discriminator between them and the real ones (B,3,H,W)."""
    constants = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    generator = -functional_call(discriminator, constants, (painted,)).mean()
    real, fake = discriminator(image), discriminator(painted.detach())
    return Adversarial(generator, (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2)


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_weight: Tensor) -> Tensor:
    """(), how much weight makes the adversarial gradient as long as the reconstruction's at the decoder's last layer.

    Eq. 7 of arXiv:2012.09841, without gradient.
    """
    wanted, found = (
        torch.autograd.grad(loss, last_weight, retain_graph=True)[0].norm() for loss in (reconstruction, adversarial)
    )
    return (wanted / (found + 1e-6)).clamp(max=LARGEST_WEIGHT).detach()
