"""The baseline of every shipped run has as many weights as its prior, within 10 %."""

from pathlib import Path

import pytest
import torch

from stages.__main__ import parse_config
from stages.blip.words import SHARES
from stages.codes import Schema
from stages.config import RunConfig
from stages.diffusion.network import build_unet
from stages.prior.pixelsnail import PixelSNAIL
from stages.prior.prior import LEVELS
from stages.prior.stage import sizes_of
from stages.training import parameter_count

PRETRAINED_BLIP_WIDTH = 768
FEW_CHANNELS = 6  # of x_0, as measured on `scenes`; a few more or less are a few thousand weights
RUNS = ("demo", "scenes", "folder", "musti", "paper")


def text_width(config: RunConfig) -> int:
    return SHARES * (PRETRAINED_BLIP_WIDTH if config.blip.pretrained else config.blip.text_width)


def prior_parameters(config: RunConfig) -> int:
    top, bottom = config.data.image_size // 8, config.data.image_size // 4
    schema = Schema(top, bottom, config.vqvae.text_codes, config.vqvae.codebook_size, vqvae="", blip="")
    widths = {"token_width": text_width(config), "pooled_width": config.blip.embedding_width}
    sizes = [sizes_of(name, config.prior, schema, **widths) for name in LEVELS]
    return sum(parameter_count(PixelSNAIL(of_level)) for of_level in sizes)


@pytest.mark.parametrize("run", RUNS)
def test_both_have_as_many_weights(run: str) -> None:
    config = parse_config("diffusion", ["--config", str(Path("configs") / f"{run}.yaml")])
    with torch.device("meta"):
        unet = build_unet(config.diffusion, FEW_CHANNELS, config.data.image_size // 4, text_width(config))
        prior = prior_parameters(config)
    assert parameter_count(unet) == pytest.approx(prior, rel=0.1)
