from dataclasses import replace
from pathlib import Path

import pytest

from stages.__main__ import main, parse_config
from stages.data import load_dataset
from stages.errors import StageError
from stages.evaluation.painters import paint_with_prior, paint_without_captions, prior_at
from stages.evaluation.prompts import choose_prompts
from stages.prior import Captions, Prior
from stages.workspace import Workspace


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


def test_without_captions_no_caption_reaches_the_sampler_and_no_guidance(tiny_run: Path) -> None:
    workspace = Workspace(parse_config("evaluation", ["--config", str(tiny_run)]))
    prompts = choose_prompts(load_dataset(workspace.require("data")).split("test"), 4, seed=0)
    asked = []

    def sample(prior: Prior, captions: Captions, seeds: list[int], *options: object) -> None:
        asked.append((captions.present.tolist(), seeds, *options[:2]))
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Prior, "sample", sample)
        for draw in (paint_with_prior(workspace, prompts, 3), paint_without_captions(workspace, 3)):
            with pytest.raises(InterruptedError):
                draw(1, 3)
    (captioned, seeds, _, _), (uncaptioned, same_seeds, *options) = asked
    assert captioned == [True, True] and uncaptioned == [False, False] and seeds == same_seeds
    sampling = workspace.config.samples.sampling
    assert sampling.top.guidance_scale == 2
    assert options == [replace(level, guidance_scale=1.0) for level in (sampling.top, sampling.bottom)]


UNGUIDED = ["--prior.caption_dropout", "0", "--samples.sampling.top.guidance_scale", "1"]


def test_a_prior_that_always_had_captions_is_not_guided(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "--config", str(tiny_run), *UNGUIDED[:2]]) == 2
    assert "guidance needs: set samples.sampling.top.guidance_scale" in capsys.readouterr().err


def test_a_prior_that_always_had_captions_is_not_asked_to_paint_without(tiny_run: Path) -> None:
    config = parse_config("evaluation", ["--config", str(tiny_run), *UNGUIDED])
    with pytest.raises(StageError, match=r"prior\.caption_dropout is 0"):
        paint_without_captions(Workspace(config), 0)
