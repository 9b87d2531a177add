import math

import pytest
import torch

from stages.metrics.pixels import PUBLISHED_PEAK, mse, psnr_db


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
