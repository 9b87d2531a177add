"""Stage `diffusion` from a checkpoint: pictures and captions in, low-rank updates of the checkpoint's U-Net out."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from stages.config import RunConfig
from stages.data import PreparedSet, load_dataset
from stages.diffusion.precision import spare_slow_kernels
from stages.diffusion.pretrained.checkpoint import Checkpoint, find_checkpoint
from stages.diffusion.pretrained.module import TuningModule
from stages.diffusion.pretrained.pairs import TuningPairs, keep_latents
from stages.diffusion.pretrained.pipeline import add_lora, check_steps, load_pipeline, picture_side, save_lora
from stages.diffusion.pretrained.published import FILE, Base
from stages.training import Batches, Best, Sweep, fit, parameter_count
from stages.workspace import Workspace

log = logging.getLogger("stages.diffusion")


def tune(config: RunConfig, workspace: Workspace) -> None:
    """Tunes `diffusion.pretrained` on `train`, validated on `val` where there is one, and publishes the updates.

    Raises:
        StageError: the data stage has not been run, the checkpoint is missing or not whole, or the config asks of it
            what it cannot do; all before training starts.
    """
    torch.manual_seed(config.seed)  # of noise, timesteps and dropped captions
    section = config.diffusion
    checkpoint = find_checkpoint(section.pretrained, section.pretrained_revision)
    pipeline = load_pipeline(checkpoint)
    check_steps(pipeline, section.sampling.num_inference_steps)
    dataset = load_dataset(workspace.require("data"))
    scratch = workspace.scratch("diffusion")
    base = _remember_base(checkpoint, pipeline, dataset, scratch)
    pairs = _make_pairs(pipeline, dataset, scratch)
    add_lora(pipeline.unet, section.lora_rank, section.lora_alpha, config.seed)
    spare_slow_kernels(pipeline.unet)
    module = TuningModule(pipeline, section)
    _fit(module, pairs["train"], pairs.get("val"), config.seed, scratch)
    with workspace.publish("diffusion") as output:
        save_lora(module.unet, output.directory)
        base.save(output.directory)
        output.figures |= _describe(module, checkpoint, base)
        if "val" in pairs:
            output.figures |= measure(module, pairs["val"])
    log.info("diffusion: %s", _summary(output.figures))


def _remember_base(
    checkpoint: Checkpoint, pipeline: StableDiffusionPipeline, dataset: PreparedSet, scratch: Path
) -> Base:
    """What is tuned; the same as when training was stopped, where it was, or it would go on with another network."""
    digests = checkpoint.digests()
    base = Base(checkpoint.name, checkpoint.revision, digests, picture_side(pipeline), dataset.image_size)
    if (scratch / FILE).is_file():
        Base.load(scratch).verify(checkpoint.folder, digests, scratch)
    base.save(scratch)
    return base


def _make_pairs(pipeline: StableDiffusionPipeline, dataset: PreparedSet, scratch: Path) -> dict[str, TuningPairs]:
    splits = {name: dataset.split(name) for name in ("train", "val") if name in dataset.splits}
    image_rows = np.unique(np.concatenate([split.image_rows for split in splits.values()]))
    latents = keep_latents(pipeline, dataset, image_rows, scratch / "latents.npy")
    return {name: TuningPairs(pipeline, split, latents) for name, split in splits.items()}


def _fit(module: TuningModule, train: TuningPairs, val: TuningPairs | None, seed: int, scratch: Path) -> None:
    section = module.config
    fit(
        module,
        Batches(train.batch, len(train), section.batch_size, seed),
        None if val is None else Sweep(val.batch, len(val), section.batch_size),
        max_steps=section.max_steps,
        val_every=section.val_every,
        scratch=scratch,
        desc="diffusion",
        best=Best("val/loss"),
        precision=section.precision,
    )


def _describe(module: TuningModule, checkpoint: Checkpoint, base: Base) -> dict[str, Any]:
    """The figures of the manifest: how much was trained of what, and where it is from."""
    return {
        "parameters": sum(parameter.numel() for parameter in module.unet.parameters()),
        "trained_parameters": parameter_count(module),
        "pictures_seen": module.config.pictures_seen,
        "picture_side": base.picture_side,
        "checkpoint": checkpoint.name,
        "checkpoint_revision": checkpoint.revision,
        "checkpoint_sha256": base.sha256["unet"],
        "checkpoint_licence": checkpoint.licence(),
    }


@torch.no_grad()
def measure(module: TuningModule, pairs: TuningPairs) -> dict[str, float]:
    """Held-out denoising loss with true and with other captions, over the same noise."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module.to(device)
    true, others = 0.0, 0.0
    for batch in Sweep(pairs.batch, len(pairs), module.config.batch_size):
        moved = type(batch)(*(value.to(device) for value in batch))
        with_true, with_others = module.held_out_losses(moved)
        true, others = true + float(with_true.sum()), others + float(with_others.sum())
    module.to("cpu")
    return {"val_loss": true / len(pairs), "val_loss_shuffled": others / len(pairs)}


def _summary(figures: dict[str, Any]) -> str:
    tuned = f"{figures['trained_parameters']} of {figures['parameters']} parameters tuned"
    if "val_loss" not in figures:
        return tuned
    return f"{tuned}, val loss {figures['val_loss']:.4f}, with shuffled captions {figures['val_loss_shuffled']:.4f}"
