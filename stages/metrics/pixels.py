"""Differences of pixels between pictures and the ones they should be."""

import torch
from torch import Tensor

TRUE_PEAK = 2.0  # the range of an image in [-1,1]
PUBLISHED_PEAK = 1.0  # what the published figures used on the same range, 6.02 dB too low


def mse(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error (B,) of each image (B,3,H,W) in [-1,1] against its target, in [0,4]."""
    return (image.double() - target.double()).square().mean(dim=(1, 2, 3))


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (B,) in [-1,1] (Wang et al. 2004) of each image (B,3,H,W) in [-1,1] and its target.

    By torchmetrics: Gaussian window of 11 pixels, sigma 1.5, borders reflected, mean over pixels and channels, range 2.
    The values are shifted to [0,2] first, because the luminance term depends on where 0 is: so it is the SSIM of the
    8-bit levels. In float32, which is right to 3e-4 in areas without any grain, and to 1e-5 in others.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    found = structural_similarity_index_measure(image + 1, target + 1, data_range=TRUE_PEAK, reduction="none")
    assert isinstance(found, Tensor)  # a pair only where the whole map is asked for
    return found


def psnr_db(mean_squared_error: Tensor, peak: float = TRUE_PEAK) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(peak^2 / MSE) of each MSE, in dB; infinite where the MSE is 0.

    Args:
        peak: size of the value range: 2 for an image in [-1,1].
    """
    return 10 * torch.log10(peak**2 / mean_squared_error)
