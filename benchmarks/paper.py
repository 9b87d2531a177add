"""What a step of training takes on a GPU with the networks and batches of `configs/paper.yaml`.

Batches are random, of the shapes that 256 pixels make. The levels of the prior are also trained by a plain loop over
the same network in the public style, in float32 and in bfloat16; the others have no reference.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities import move_data_to_device

from benchmarks.public import in_public_style
from benchmarks.vqvae import PAPER
from stages.__main__ import parse_config
from stages.blip.words import SHARES
from stages.codes import Schema
from stages.config import RunConfig
from stages.config.diffusion import DiffusionConfig
from stages.config.precision import Precision
from stages.config.prior import LevelConfig
from stages.config.vqvae import VqvaeConfig
from stages.diffusion.module import DiffusionModule, NoisingBatch
from stages.diffusion.network import build_unet
from stages.prior.captions import Captions
from stages.prior.module import CodeBatch, PriorModule
from stages.prior.pixelsnail import PixelSNAIL
from stages.prior.stage import sizes_of as prior_sizes
from stages.training import Batches, fit, multiplying_in
from stages.vqvae.module import PictureBatch, VQVAEModule
from stages.vqvae.network import VQVAE
from stages.vqvae.stage import sizes_of as vqvae_sizes

STEPS = (10, 40)
"""Of two fits, after one to warm up. The second's extra time is that of its extra steps, without a fit's start."""
TEXT_WIDTH, EMBEDDING_WIDTH, TOKENS = SHARES * 768, 256, 20
LATENT_CHANNELS = 16
"""Of the baseline's latents. How many a run has is measured of its codes: 6 on `scenes`; a few more cost little."""
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
DEVICE = torch.device("cuda")


def cases() -> Iterator[dict[str, Any]]:
    """Seconds of a step: each level of the prior in both precisions, the VQ-VAE, the baseline."""
    config = parse_config("prior", ["--config", str(PAPER)])
    for level in ("top", "bottom"):
        module, batch = _prior(config, level)
        for precision in PRECISIONS:
            ours = fit_step_seconds(module, batch, precision, config.prior.ema_decay)
            reference = loop_step_seconds(module, batch, precision)
            yield _case(f"prior {level}", len(batch.codes), precision, ours, reference)
    for name, (other, pictures, section) in {"vqvae": _vqvae(config), "diffusion": _diffusion(config)}.items():
        seconds = fit_step_seconds(other, pictures, section.precision, section.ema_decay)
        yield _case(name, section.batch_size, section.precision, seconds, None)


def fit_step_seconds(module: pl.LightningModule, batch: Any, precision: Precision, ema_decay: float | None) -> float:
    """As the stages train, without validation."""

    def run(steps: int) -> None:
        batches = Batches(lambda rows: batch, 1, 1, seed=0)
        with tempfile.TemporaryDirectory() as scratch:
            fit(
                module,
                batches,
                None,
                max_steps=steps,
                val_every=steps,
                scratch=Path(scratch),
                desc="steps",
                ema_decay=ema_decay,
                precision=precision,
            )

    return _extra_seconds(run)


def loop_step_seconds(module: PriorModule, batch: CodeBatch, precision: Precision) -> float:
    """By a plain loop with Adam over the same network in the public style."""
    public = PriorModule(in_public_style(module.network), module.level, module.config).to(DEVICE).train()
    there = move_data_to_device(batch, DEVICE)
    optimizer = torch.optim.Adam(public.parameters(), lr=module.level.lr)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with multiplying_in(precision, DEVICE):
                loss = public._step(there)
            loss.backward()
            optimizer.step()
            loss.item()

    return _extra_seconds(run)


def _extra_seconds(run: Callable[[int], None]) -> float:
    taken = []
    for steps in (STEPS[0], *STEPS):  # the first warms up
        started = time.perf_counter()
        run(steps)
        taken.append(time.perf_counter() - started)
    return (taken[2] - taken[1]) / (STEPS[1] - STEPS[0])


def _prior(config: RunConfig, name: str) -> tuple[PriorModule, CodeBatch]:
    torch.manual_seed(0)
    top, bottom = config.data.image_size // 8, config.data.image_size // 4
    schema = Schema(top, bottom, config.vqvae.text_codes, config.vqvae.codebook_size, vqvae="", blip="")
    sizes = prior_sizes(name, config.prior, schema, token_width=TEXT_WIDTH, pooled_width=EMBEDDING_WIDTH)
    level: LevelConfig = getattr(config.prior, name)
    b, codes = level.batch_size, schema.codebook_size
    mask, text = torch.ones(b, TOKENS, dtype=torch.bool), torch.randint(0, codes, (b, schema.text_codes))
    captions = Captions(torch.randn(b, TOKENS, TEXT_WIDTH), mask, torch.randn(b, EMBEDDING_WIDTH), text)
    context = torch.randint(0, codes, (b, top, top)) if sizes.context_side else None
    batch = CodeBatch(torch.randint(0, codes, (b, sizes.side, sizes.side)), context, captions)
    return PriorModule(PixelSNAIL(sizes), level, config.prior), batch


def _vqvae(config: RunConfig) -> tuple[pl.LightningModule, Any, VqvaeConfig | DiffusionConfig]:
    torch.manual_seed(0)
    section, side = config.vqvae, config.data.image_size
    module = VQVAEModule(VQVAE(vqvae_sizes(section, side, EMBEDDING_WIDTH)), section)
    embeddings = F.normalize(torch.randn(2, section.batch_size, EMBEDDING_WIDTH), dim=-1)
    return module, PictureBatch(torch.rand(section.batch_size, 3, side, side) * 2 - 1, *embeddings), section


def _diffusion(config: RunConfig) -> tuple[pl.LightningModule, Any, VqvaeConfig | DiffusionConfig]:
    torch.manual_seed(0)
    section, side = config.diffusion, config.data.image_size // 4
    module = DiffusionModule(build_unet(section, LATENT_CHANNELS, side, TEXT_WIDTH), section)
    b = section.batch_size
    noised = torch.randn(b, LATENT_CHANNELS, side, side)
    mask = torch.ones(b, TOKENS, dtype=torch.bool)
    return module, NoisingBatch(noised, torch.randn(b, TOKENS, TEXT_WIDTH), mask), section


def _case(name: str, batch: int, precision: str, ours: float, reference: float | None) -> dict[str, Any]:
    settings = {"network": name, "batch": batch, "precision": precision, "gpu": torch.cuda.get_device_name()}
    case: dict[str, Any] = {"settings": settings, "ours_s": ours}
    return case if reference is None else case | {"reference_s": reference, "ratio": reference / ours}
