"""Stage `vqvae`: pictures and BLIP embeddings in, a code space out."""

import logging

import numpy as np
import torch
from torch import nn

from stages.blip import Features, load_features
from stages.config import RunConfig
from stages.config.vqvae import VqvaeConfig
from stages.data import PreparedSet, Split, load_dataset, pictures_at_once, to_tensor
from stages.errors import StageError
from stages.metrics import TABLE_REPEATS, Resampling, Table, figures_of, write_table
from stages.metrics.perceptual import SMALLEST_ALEX_SIDE, load_lpips
from stages.training import Batches, Best, Sweep, fit, parameter_count
from stages.vqvae.adversarial import SMALLEST_SIDE
from stages.vqvae.measures import collapsed_levels, measure
from stages.vqvae.module import PictureBatch, VQVAEModule
from stages.vqvae.network import VQVAE, VQVAESizes
from stages.vqvae.storage import save_vqvae
from stages.workspace import Workspace

log = logging.getLogger("stages.vqvae")


class Pairs:
    """Batches of a split's pictures with both embeddings."""

    def __init__(self, dataset: PreparedSet, features: Features, split: Split) -> None:
        self.dataset, self.features, self.split = dataset, features, split

    def __len__(self) -> int:
        return len(self.split)

    def batch(self, rows: np.ndarray) -> PictureBatch:
        """Pairs of these row numbers of the split."""
        pictures = self.split.image_rows[rows]
        return PictureBatch(
            to_tensor(self.dataset.images[pictures]),
            torch.from_numpy(np.asarray(self.features.image_pooled[pictures])),
            torch.from_numpy(np.asarray(self.features.text_pooled[self.split.record_rows[rows]])),
        )


def sweep(pairs: Pairs, mixed: bool = False) -> Sweep:
    """Every pair once, in batches of as much memory whatever the pictures' side; see `Sweep`."""
    return Sweep(pairs.batch, len(pairs), pictures_at_once(pairs.dataset.image_size), mixed)


def run(config: RunConfig, workspace: Workspace) -> None:
    """Trains on `train`, validates on `val`, reports on `test`."""
    torch.manual_seed(config.seed)
    section = config.vqvae
    lpips = _lpips(section)
    dataset = load_dataset(workspace.require("data"))
    _check_size(section, dataset.image_size)
    features = load_features(workspace.require("blip"))
    train, val, test = (Pairs(dataset, features, dataset.split(name)) for name in ("train", "val", "test"))
    sizes = sizes_of(section, dataset.image_size, features.image_pooled.shape[1])
    module = VQVAEModule(VQVAE(sizes), section, lpips)
    fit(
        module,
        Batches(train.batch, len(train), section.batch_size, config.seed),
        sweep(val),
        max_steps=section.max_steps,
        val_every=section.val_every,
        scratch=workspace.scratch("vqvae"),
        desc="vqvae",
        ema_decay=section.ema_decay,
        best=Best("val/loss") if section.gan_weight == 0 else None,
        precision=section.precision,
    )
    with workspace.publish("vqvae") as output:
        save_vqvae(module.network, output.directory)
        output.figures |= {"parameters": parameter_count(module.network)}
        table = _measure(module.network, test, config.seed)
        write_table(table, output.directory)
        on_val = _measure(module.network, val, config.seed)  # what settings are chosen by
        output.figures |= figures_of(table) | {f"val_{name}": value for name, value in figures_of(on_val).items()}
    _report(output.figures, sizes)


def _measure(network: VQVAE, pairs: Pairs, seed: int) -> Table:
    """The figures of a split, a picture's pairs resampled together."""
    batches = sweep(pairs, mixed=True)
    resampling = Resampling(TABLE_REPEATS, seed).of_pictures(pairs.split.image_rows[batches.order])
    return measure(network, batches, resampling)


def sizes_of(section: VqvaeConfig, image_size: int, embedding_width: int) -> VQVAESizes:
    """The sizes that the config gives, for pictures of that side in pixels and BLIP embeddings of that width."""
    return VQVAESizes(
        image_size=image_size,
        embedding_width=embedding_width,
        channels=section.channels,
        residual_blocks=section.residual_blocks,
        residual_channels=section.residual_channels,
        embedding_dim=section.embedding_dim,
        codebook_size=section.codebook_size,
        text_codes=section.text_codes,
        quantizer=section.quantizer,
        decay=section.decay,
    )


def _lpips(section: VqvaeConfig) -> nn.Module | None:
    """The network of LPIPS where the loss has it.

    Raises:
        StageError: its weights are not there.
    """
    if section.lpips_weight == 0:
        return None
    found = load_lpips(section.lpips_backbone, "run: make vqvae")
    if found.network is None:
        raise StageError(f"vqvae.lpips_weight is {section.lpips_weight}, but {found.reason}")
    return found.network


def _check_size(section: VqvaeConfig, image_size: int) -> None:
    if section.lpips_weight > 0 and section.lpips_backbone == "alex" and image_size < SMALLEST_ALEX_SIDE:
        raise StageError(
            f"vqvae.lpips_backbone must be vgg for pictures of less than {SMALLEST_ALEX_SIDE} pixels, got alex for the "
            f"{image_size} of this data set: nothing is left of them behind its second layer"
        )
    if section.gan_weight > 0 and image_size < SMALLEST_SIDE:
        raise StageError(
            f"vqvae.gan_weight must be 0 for pictures of less than {SMALLEST_SIDE} pixels: the discriminator has no "
            f"patch for the {image_size} of this data set"
        )


def _report(figures: dict[str, float], sizes: VQVAESizes) -> None:
    log.info(
        "vqvae: test MSE %.4f (%.2f dB, peak 2), codes in use %.0f %% top, %.0f %% bottom, "
        "picture found by its caption's codes among the first 10: %.0f %% (chance %.0f %%)",
        figures["mse"],
        figures["psnr_db"],
        100 * figures["usage_top"],
        100 * figures["usage_bottom"],
        100 * figures["text_code_retrieval_r10"],
        100 * figures["text_code_retrieval_chance"],
    )
    for line in collapsed_levels(figures, sizes):
        log.warning("vqvae: %s", line)
