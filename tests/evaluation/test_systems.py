from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.__main__ import parse_config
from stages.data import load_dataset, to_uint8
from stages.evaluation.prompts import choose_prompts
from stages.evaluation.systems import draw_pictures, prior_at
from stages.prior import Captions, Prior
from stages.workspace import Workspace


def _noise(first: int, last: int) -> Tensor:
    pictures = [torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(place)) for place in range(first, last)]
    return torch.stack(pictures) * 2 - 1


def test_pictures_come_in_order_whatever_the_batch(tmp_path: Path) -> None:
    drawn = draw_pictures(_noise, 7, 3, tmp_path / "a", "noise")
    assert np.array_equal(drawn.pictures, to_uint8(_noise(0, 7)))
    assert np.array_equal(drawn.pictures, draw_pictures(_noise, 7, 5, tmp_path / "b", "noise").pictures)
    assert drawn.seconds_per_picture > 0


def test_a_stopped_run_draws_only_what_is_left(tmp_path: Path) -> None:
    asked = []

    def draw(first: int, last: int) -> Tensor:
        if first == 4 and 4 not in asked:
            asked.append(first)
            raise KeyboardInterrupt
        asked.append(first)
        return _noise(first, last)

    with pytest.raises(KeyboardInterrupt):
        draw_pictures(draw, 6, 2, tmp_path, "noise")
    drawn = draw_pictures(draw, 6, 2, tmp_path, "noise")
    assert asked == [0, 2, 4, 4]
    assert np.array_equal(drawn.pictures, to_uint8(_noise(0, 6)))


def test_a_setting_of_the_sweep_reaches_the_top_levels_sampler_alone(tiny_run: Path) -> None:
    config = parse_config("evaluation", ["--config", str(tiny_run)])
    workspace = Workspace(config)
    prompts = choose_prompts(load_dataset(workspace.require("data")).split("val"), 2, seed=0)
    at = prior_at(workspace, prompts, seed=3)
    asked = []

    def sample(prior: Prior, captions: Captions, seeds: list[int], *options: object) -> None:
        asked.append((seeds, *options[:2]))
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Prior, "sample", sample)
        for guidance, temperature in ((1.5, 0.7), (3.0, 1.0)):
            with pytest.raises(InterruptedError):
                at(guidance, temperature)(0, 2)
    sampling = config.samples.sampling
    tops = [replace(sampling.top, guidance_scale=g, temperature=t) for g, t in ((1.5, 0.7), (3.0, 1.0))]
    assert [(top, bottom) for _, top, bottom in asked] == [(top, sampling.bottom) for top in tops]
    assert asked[0][0] == asked[1][0]  # the same noise
