"""Small networks of every kind, and what they are given."""

from dataclasses import replace
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from stages.config.prior import TextForm
from stages.config.samples import SamplingOptions
from stages.prior.captions import Captions
from stages.prior.pixelsnail import Conditioning, PixelSNAIL, PixelSNAILSizes

K, WIDTH = 11, 12
TEXTS = get_args(TextForm)


class Case(NamedTuple):
    side: int
    context_side: int
    self_attention: bool
    kernel: int
    text_layers: int
    text: str = "tokens"
    weight_norm: bool = False


CASES = [
    Case(*shape, text=text)
    for text in TEXTS
    for shape in (
        (4, 0, True, 3, 1),
        (5, 0, False, 5, 0),
        (6, 3, True, 5, 1),
        (8, 4, False, 3, 2),
        (8, 2, True, 3, 1),
        (1, 0, True, 3, 1),
    )
] + [Case(6, 3, True, 5, 1, weight_norm=True)]

SMALL = PixelSNAILSizes(
    side=4,
    codebook_size=K,
    text_width=WIDTH,
    channels=16,
    kernel=3,
    blocks=2,
    residual_blocks=2,
    residual_channels=8,
    self_attention=True,
    context_side=0,
    context_blocks=1,
    text_layers=1,
    heads=2,
    dropout=0.1,
    weight_norm=False,
    text="tokens",
)
LARGE = replace(
    SMALL,
    codebook_size=512,
    channels=64,
    kernel=5,
    blocks=4,
    residual_blocks=4,
    residual_channels=64,
    heads=4,
    dropout=0.0,
)

WAYS = [
    SamplingOptions(),
    SamplingOptions(temperature=0.7, top_k=5, guidance_scale=2.5),
    SamplingOptions(top_p=0.8, guidance_scale=0.0),
    SamplingOptions(temperature=0),
]
"""How codes are drawn."""


def build(case: Case, seed: int = 0) -> PixelSNAIL:
    torch.manual_seed(seed)
    network = PixelSNAIL(sizes_of(case)).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():  # zero-initialised parts would hide leaks
        parameter.add_(0.2 * torch.randn(parameter.shape))
        if name.endswith(".gain"):
            parameter.mul_(4)  # as large as the weights would be without a norm
    return network


def sizes_of(case: Case) -> PixelSNAILSizes:
    return replace(
        SMALL,
        side=case.side,
        kernel=case.kernel,
        self_attention=case.self_attention,
        context_side=case.context_side,
        text_layers=case.text_layers,
        weight_norm=case.weight_norm,
        text=case.text,
    )


def make_captions(batch: int, seed: int = 1, tokens: int = 5) -> Captions:
    """Every form has a last axis of `WIDTH`, so that one network's sizes fit any of them."""
    generator = torch.Generator().manual_seed(seed)
    return Captions(
        torch.randn(batch, tokens, WIDTH, generator=generator),
        torch.ones(batch, tokens, dtype=torch.bool),
        torch.nn.functional.normalize(torch.randn(batch, WIDTH, generator=generator), dim=-1),
        torch.randint(0, K, (batch, WIDTH), generator=generator),
    )


def condition(network: PixelSNAIL, batch: int, seed: int = 1) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)
    captions = make_captions(batch, seed)
    lengths = torch.randint(0, 6, (batch, 1), generator=generator)  # some rows without any caption
    side = network.sizes.context_side
    context = torch.randint(0, K, (batch, side, side), generator=generator) if side else None
    return network.condition(captions._replace(mask=torch.arange(5) < lengths), context)


def random_codes(case: Case, batch: int) -> Tensor:
    return torch.randint(0, K, (batch, case.side, case.side), generator=torch.Generator().manual_seed(2))
