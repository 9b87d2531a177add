"""Stage `diffusion`: the same pictures and text features in, a text-conditioned diffusion model out."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging

from stages.blip import Features, load_features
from stages.codes import CodeStore
from stages.config import RunConfig
from stages.data import load_dataset
from stages.diffusion.module import DiffusionModule
from stages.diffusion.network import build_unet
from stages.diffusion.pairs import Pairs, codes_of, latent_pairs, pixel_pairs
from stages.diffusion.precision import spare_slow_kernels
from stages.diffusion.spaces import LatentSpace, PixelSpace, Space
from stages.training import Batches, Best, Sweep, fit, parameter_count
from stages.vqvae import load_vqvae
from stages.workspace import Output, Workspace

log = logging.getLogger("stages.diffusion")
MEASURED_PICTURES = 2000


class Material(NamedTuple):
    """What a baseline is trained on."""

    space: Space
    train: Pairs
    val: Pairs


def run(config: RunConfig, workspace: Workspace) -> None:
    """Trains on `train`, validates on `val` with true and with shuffled captions."""
    if config.diffusion.pretrained:
        from stages.diffusion.pretrained.tuning import tune

        return tune(config, workspace)
    torch.manual_seed(config.seed)
    section = config.diffusion
    features = load_features(workspace.require("blip"))
    collect = {"latent": collect_latents, "pixel": collect_pixels}[section.space]
    material = collect(workspace, features)
    unet = build_unet(section, material.space.channels, material.space.side, features.token_width)
    spare_slow_kernels(unet)
    module = DiffusionModule(unet, section)
    fit(
        module,
        Batches(material.train.batch, len(material.train), section.batch_size, config.seed),
        Sweep(material.val.batch, len(material.val), 100, mixed=True),
        max_steps=section.max_steps,
        val_every=section.val_every,
        scratch=workspace.scratch("diffusion"),
        desc="diffusion",
        ema_decay=section.ema_decay,
        best=Best("val/loss"),
        precision=section.precision,
    )
    with workspace.publish("diffusion") as output:
        save(module, material.space, output)
        output.figures |= {"parameters": parameter_count(unet), "pictures_seen": section.pictures_seen}
        output.figures |= measure(module, material.val)
    log.info(
        "diffusion: val loss %.4f, with shuffled captions %.4f",
        output.figures["val_loss"],
        output.figures["val_loss_shuffled"],
    )


def collect_latents(workspace: Workspace, features: Features) -> Material:
    """The codes of the run, as latents."""
    store = CodeStore.open(workspace.require("codes"), vqvae=workspace.digest("vqvae"), blip=workspace.digest("blip"))
    train = store.read_train() if workspace.config.diffusion.shifted_views else store.read("train")
    some = codes_of(train, np.arange(min(len(train), MEASURED_PICTURES)))
    space = LatentSpace.measured(load_vqvae(workspace.require("vqvae")), some)
    return Material(space, latent_pairs(train, features, space), latent_pairs(store.read("val"), features, space))


def collect_pixels(workspace: Workspace, features: Features) -> Material:
    """The pictures of the run."""
    dataset = load_dataset(workspace.require("data"))
    train, val = (pixel_pairs(dataset, split, features) for split in ("train", "val"))
    return Material(PixelSpace(dataset.image_size), train, val)


def save(module: DiffusionModule, space: Space, output: Output) -> None:
    """Writes a `diffusers` pipeline directory, and `space.json`.

    The pipeline has no text encoder and no decoder of its own: it takes BLIP's token features as `prompt_embeds`
    (`load_blip(...).encode_text(...).tokens`), and its latents are this run's (in pixel space: the picture).
    """
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=module.network,
        scheduler=module.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with _quiet():  # it warns of each part that is not there
        pipeline.save_pretrained(output.directory)
    space.save(output.directory)


@contextmanager
def _quiet() -> Iterator[None]:
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(verbosity)


def measure(module: DiffusionModule, pairs: Pairs) -> dict[str, float]:
    """Held-out denoising loss with true and with shuffled captions, over the same noise."""
    totals = {"val_loss": 0.0, "val_loss_shuffled": 0.0}
    for number, batch in enumerate(Sweep(pairs.batch, len(pairs), 100, mixed=True)):
        for name, losses in zip(totals, module.held_out_losses(batch, number), strict=True):
            totals[name] += float(losses.sum())
    return {name: total / len(pairs) for name, total in totals.items()}
