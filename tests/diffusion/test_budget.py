"""The baseline of every shipped run has as many weights as its prior, within 10 %."""

import dataclasses
from pathlib import Path

import pytest
import torch

from stages.__main__ import parse_config
from stages.blip.words import SHARES
from stages.config import RunConfig
from stages.config.prior import LevelConfig
from stages.diffusion.network import build_unet
from stages.prior.pixelsnail import PixelSNAIL, PixelSNAILSizes
from stages.training import parameter_count

PRETRAINED_BLIP_WIDTH = 768
FEW_CHANNELS = 6  # of x_0, as measured on `scenes`; a few more or less are a few thousand weights
RUNS = ("demo", "scenes", "folder", "musti", "paper")


def text_width(config: RunConfig) -> int:
    return SHARES * (PRETRAINED_BLIP_WIDTH if config.blip.pretrained else config.blip.text_width)


def prior_parameters(config: RunConfig) -> int:
    sides = {"top": config.data.image_size // 8, "bottom": config.data.image_size // 4}
    widths = {"tokens": text_width(config), "codes": config.vqvae.text_codes}
    shared = {f.name for f in dataclasses.fields(PixelSNAILSizes)} & {f.name for f in dataclasses.fields(LevelConfig)}
    total = 0
    for name, context_side in (("top", 0), ("bottom", sides["top"])):
        level = getattr(config.prior, name)
        sizes = PixelSNAILSizes(
            side=sides[name],
            codebook_size=config.vqvae.codebook_size,
            text=config.prior.text,
            text_width=widths[config.prior.text],
            context_side=context_side,
            **{key: getattr(level, key) for key in shared},
        )
        total += parameter_count(PixelSNAIL(sizes))
    return total


@pytest.mark.parametrize("run", RUNS)
def test_both_have_as_many_weights(run: str) -> None:
    config = parse_config("diffusion", ["--config", str(Path("configs") / f"{run}.yaml")])
    with torch.device("meta"):
        unet = build_unet(config.diffusion, FEW_CHANNELS, config.data.image_size // 4, text_width(config))
        prior = prior_parameters(config)
    assert parameter_count(unet) == pytest.approx(prior, rel=0.1)
