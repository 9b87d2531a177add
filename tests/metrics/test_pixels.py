import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from stages.metrics.pixels import PUBLISHED_PEAK, mse, psnr_db, ssim


def test_the_error_is_that_of_each_picture() -> None:
    image, target = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    target[0], target[1, 0] = 0.5, -1.0  # all values off by 0.5; a third of them off by 1
    assert mse(image, target).tolist() == pytest.approx([0.25, 1 / 3])


def test_the_peak_is_the_range_of_minus_one_to_one() -> None:
    error = torch.tensor([0.24, 4.0, 0.0], dtype=torch.float64)
    assert psnr_db(error)[:2].tolist() == pytest.approx([12.2185, 0.0], abs=1e-4)  # 10 log10(4/0.24)
    assert math.isinf(psnr_db(error)[2])


def test_the_published_figure_is_6_02_db_below_the_true_one() -> None:
    error = torch.tensor([10 ** (-6.5799 / 10)], dtype=torch.float64)  # what gives the published 6.5799 dB
    assert float(psnr_db(error, PUBLISHED_PEAK)) == pytest.approx(6.5799)
    assert float(psnr_db(error)) == pytest.approx(12.6005, abs=1e-4)


def ssim_by_the_formula(picture: np.ndarray, target: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, of 8-bit levels (H,W,3), with scipy's Gaussian window of 11 pixels."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blur(levels: np.ndarray) -> np.ndarray:
        found: np.ndarray = gaussian_filter(levels, sigma=(1.5, 1.5, 0), truncate=3.5, mode="mirror")
        return found

    x, y = picture.astype(float), target.astype(float)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    whole = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(whole.mean())


def test_ssim_is_that_of_the_8_bit_levels() -> None:
    rng = np.random.default_rng(0)
    target = gaussian_filter(rng.uniform(0, 255, (2, 40, 40, 3)), sigma=(0, 2, 2, 0))
    target = ((target - target.min()) / np.ptp(target) * 255).round()
    picture = np.clip(0.7 * target + 40 + rng.normal(0, 12, target.shape), 0, 255).round()
    image, real = (torch.from_numpy(levels / 127.5 - 1).permute(0, 3, 1, 2).float() for levels in (picture, target))
    found = ssim(image, real)
    expected = [ssim_by_the_formula(*pair) for pair in zip(picture, target, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4) and 0.1 < min(expected) < 0.95
    assert ssim(real, real).tolist() == pytest.approx([1, 1])


def test_ssim_of_two_greys_by_hand() -> None:
    dark, light = torch.full((1, 3, 16, 16), -0.5), torch.full((1, 3, 16, 16), 0.5)  # 0.5 and 1.5 of a range of 2
    c1 = (0.01 * 2) ** 2
    assert float(ssim(dark, light)) == pytest.approx((2 * 0.5 * 1.5 + c1) / (0.5**2 + 1.5**2 + c1), abs=3e-4)
