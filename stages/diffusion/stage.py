"""Stage `diffusion`: the same codes and text features in, a text-conditioned latent diffusion model out."""

import logging

import numpy as np
import torch

from stages.blip import Features, load_features
from stages.codes import CodeStore, SplitCodes
from stages.config import RunConfig
from stages.diffusion.latents import LatentSpace, measure_space
from stages.diffusion.module import DiffusionModule, LatentBatch
from stages.diffusion.network import build_unet
from stages.training import Batches, Best, Sweep, fit, parameter_count
from stages.vqvae import VQVAE, Codes, load_vqvae
from stages.workspace import Workspace

log = logging.getLogger("stages.diffusion")
MEASURED_PICTURES = 2000


class LatentPairs:
    """Batches of a split's latents, with captions' features."""

    def __init__(self, network: VQVAE, codes: SplitCodes, features: Features, space: LatentSpace) -> None:
        self.network, self.codes, self.features, self.space = network, codes, features, space

    def __len__(self) -> int:
        return len(self.codes)

    def batch(self, rows: np.ndarray) -> LatentBatch:
        """Pairs of these row numbers of the split; text is cut to the longest caption among them."""
        text, mask = self.features.text(self.codes.record_rows[rows])
        return LatentBatch(self.space.from_codes(self.network, codes_of(self.codes, rows)), text, mask)


def codes_of(codes: SplitCodes, rows: np.ndarray) -> Codes:
    """Codes of these row numbers of a split."""
    top, bottom = (torch.from_numpy(level[rows].astype(np.int64)) for level in (codes.top, codes.bottom))
    return Codes(top, bottom)


def run(config: RunConfig, workspace: Workspace) -> None:
    """Trains on `train`, validates on `val` with true and with shuffled captions."""
    torch.manual_seed(config.seed)
    section = config.diffusion
    features = load_features(workspace.require("blip"))
    store = CodeStore.open(workspace.require("codes"), vqvae=workspace.digest("vqvae"), blip=workspace.digest("blip"))
    vqvae = load_vqvae(workspace.require("vqvae"))
    train = store.read_train()
    space = measure_space(vqvae, codes_of(train, np.arange(min(len(train), MEASURED_PICTURES))))
    pairs = LatentPairs(vqvae, train, features, space)
    val = LatentPairs(vqvae, store.read("val"), features, space)
    unet = build_unet(section, len(space.mean), store.schema.bottom_side, features.text_tokens.shape[-1])
    module = DiffusionModule(unet, section)
    fit(
        module,
        Batches(pairs.batch, len(pairs), section.batch_size, config.seed),
        Sweep(val.batch, len(val), 100, mixed=True),
        max_steps=section.max_steps,
        val_every=section.val_every,
        scratch=workspace.scratch("diffusion"),
        desc="diffusion",
        ema_decay=section.ema_decay,
        best=Best("val/loss"),
    )
    with workspace.publish("diffusion") as output:
        module.network.save_pretrained(output.directory / "unet")
        module.scheduler.save_pretrained(output.directory / "scheduler")
        space.save(output.directory)
        output.figures |= {"parameters": parameter_count(unet), "pictures_seen": section.max_steps * section.batch_size}
        output.figures |= measure(module, val)
    log.info(
        "diffusion: val loss %.4f, with shuffled captions %.4f",
        output.figures["val_loss"],
        output.figures["val_loss_shuffled"],
    )


@torch.no_grad()
def measure(module: DiffusionModule, pairs: LatentPairs) -> dict[str, float]:
    """Held-out denoising loss with true and with shuffled captions, over the same noise."""
    totals = {"val_loss": 0.0, "val_loss_shuffled": 0.0}
    for number, batch in enumerate(Sweep(pairs.batch, len(pairs), 100, mixed=True)):
        size = len(batch.x_0)
        eps = torch.randn(batch.x_0.shape, generator=torch.Generator().manual_seed(number))
        t = torch.arange(size) * module.config.train_timesteps // size
        shuffled = batch._replace(text=batch.text.roll(1, dims=0), text_mask=batch.text_mask.roll(1, dims=0))
        kept = torch.ones(size, dtype=torch.bool)
        totals["val_loss"] += float(module._step(batch, kept, t, eps)) * size
        totals["val_loss_shuffled"] += float(module._step(shuffled, kept, t, eps)) * size
    return {name: total / len(pairs) for name, total in totals.items()}
