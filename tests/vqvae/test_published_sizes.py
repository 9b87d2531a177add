"""`configs/paper.yaml` builds the published network: rosinality/vq-vae-2-pytorch, written out here part by part."""

import dataclasses
from pathlib import Path

import pytest
from torch import nn

from stages.__main__ import parse_config
from stages.training import parameter_count
from stages.vqvae import VQVAE
from stages.vqvae.stage import sizes_of

PAPER = Path(__file__).parents[2] / "configs" / "paper.yaml"
CHANNEL, RES_BLOCKS, RES_CHANNEL, EMBED_DIM, N_EMBED = 128, 2, 32, 64, 512
PUBLISHED = 1_388_867
"""Learnt weights of the published network, the 1.39 M of its reports; its code books are buffers, 132,096 more."""
OURS_ALONE = {"embedding_to_top", "text_encoder", "top_to_coarse", "embedding_decoder"}


class ResBlock(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.ReLU(), nn.Conv2d(CHANNEL, RES_CHANNEL, 3, padding=1))
        self.extend([nn.ReLU(), nn.Conv2d(RES_CHANNEL, CHANNEL, 1)])


def encoder(in_channel: int, stride: int) -> nn.Sequential:
    half = CHANNEL // 2
    if stride == 4:
        blocks: list[nn.Module] = [nn.Conv2d(in_channel, half, 4, stride=2, padding=1), nn.ReLU()]
        blocks += [nn.Conv2d(half, CHANNEL, 4, stride=2, padding=1), nn.ReLU()]
        blocks += [nn.Conv2d(CHANNEL, CHANNEL, 3, padding=1)]
    else:
        blocks = [nn.Conv2d(in_channel, half, 4, stride=2, padding=1), nn.ReLU()]
        blocks += [nn.Conv2d(half, CHANNEL, 3, padding=1)]
    return nn.Sequential(*blocks, *(ResBlock() for _ in range(RES_BLOCKS)), nn.ReLU())


def decoder(in_channel: int, out_channel: int, stride: int) -> nn.Sequential:
    half = CHANNEL // 2
    blocks: list[nn.Module] = [nn.Conv2d(in_channel, CHANNEL, 3, padding=1)]
    blocks += [*(ResBlock() for _ in range(RES_BLOCKS)), nn.ReLU()]
    if stride == 4:
        blocks += [nn.ConvTranspose2d(CHANNEL, half, 4, stride=2, padding=1), nn.ReLU()]
        blocks += [nn.ConvTranspose2d(half, out_channel, 4, stride=2, padding=1)]
    else:
        blocks += [nn.ConvTranspose2d(CHANNEL, out_channel, 4, stride=2, padding=1)]
    return nn.Sequential(*blocks)


def published() -> nn.ModuleDict:
    """VQVAE(channel=128, n_res_block=2, n_res_channel=32, embed_dim=64, n_embed=512) without its code books, by our
    names of the parts."""
    return nn.ModuleDict(
        {
            "encoder_bottom": encoder(3, stride=4),
            "encoder_top": encoder(CHANNEL, stride=2),
            "to_top": nn.Conv2d(CHANNEL, EMBED_DIM, 1),
            "decoder_top": decoder(EMBED_DIM, EMBED_DIM, stride=2),
            "to_bottom": nn.Conv2d(EMBED_DIM + CHANNEL, EMBED_DIM, 1),
            "upsample_top": nn.ConvTranspose2d(EMBED_DIM, EMBED_DIM, 4, stride=2, padding=1),
            "decoder": decoder(EMBED_DIM + EMBED_DIM, 3, stride=4),
        }
    )


def ours() -> VQVAE:
    config = parse_config("vqvae", ["--config", str(PAPER)])
    return VQVAE(sizes_of(config.vqvae, config.data.image_size, embedding_width=256))


def test_every_weight_of_the_published_network_has_its_shape_in_ours() -> None:
    reference, network = published(), ours()
    for name, part in reference.items():
        wanted = [tuple(weight.shape) for weight in part.parameters()]
        assert [tuple(weight.shape) for weight in network.get_submodule(name).parameters()] == wanted, name
    learnt = {name for name, part in network.named_children() if parameter_count(part) > 0}
    assert learnt == set(reference) | OURS_ALONE


def test_parameter_counts() -> None:
    network = ours()
    shared = sum(parameter_count(network.get_submodule(name)) for name in published())
    assert shared == parameter_count(published()) == PUBLISHED
    alone = {name: parameter_count(network.get_submodule(name)) for name in OURS_ALONE}
    assert shared + sum(alone.values()) == parameter_count(network)
    assert alone["top_to_coarse"] == 64 * 3 + 3
    assert alone["embedding_to_top"] == 256 * 128 + 128
    text_codes, p = network.sizes.text_codes, 256
    assert alone["text_encoder"] == (p * 2 * p + 2 * p) + (2 * p * text_codes * 64 + text_codes * 64)


def test_code_books_and_grids() -> None:
    network = ours()
    for quantizer in (network.quantizer_top, network.quantizer_bottom):
        assert quantizer.codebook.shape == (N_EMBED, EMBED_DIM)
    assert (network.sizes.top_side, network.sizes.bottom_side) == (32, 64)


@pytest.mark.parametrize(("key", "value"), [("channels", 64), ("residual_blocks", 3), ("embedding_dim", 32)])
def test_another_size_is_another_network(key: str, value: int) -> None:
    """The comparison above can fail."""
    sizes = dataclasses.replace(ours().sizes, **{key: value})  # type: ignore[arg-type]
    shared = sum(parameter_count(VQVAE(sizes).get_submodule(name)) for name in published())
    assert shared != PUBLISHED
