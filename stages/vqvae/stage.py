"""Stage `vqvae`: pictures and BLIP embeddings in, a code space out."""

import logging

import numpy as np
import torch
from torch import Tensor

from stages.blip import Features, load_features
from stages.config import RunConfig
from stages.data import PreparedSet, Split, load_dataset, to_tensor
from stages.training import Batches, Best, Sweep, fit, parameter_count
from stages.vqvae.module import PictureBatch, VQVAEModule
from stages.vqvae.network import VQVAE, VQVAESizes
from stages.vqvae.storage import save_vqvae
from stages.workspace import Workspace

log = logging.getLogger("stages.vqvae")
COLLAPSED_BELOW = 0.5


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


def run(config: RunConfig, workspace: Workspace) -> None:
    """Trains on `train`, validates on `val`, reports on `test`."""
    torch.manual_seed(config.seed)
    section = config.vqvae
    dataset = load_dataset(workspace.require("data"))
    features = load_features(workspace.require("blip"))
    train, val, test = (Pairs(dataset, features, dataset.split(name)) for name in ("train", "val", "test"))
    sizes = VQVAESizes(
        image_size=dataset.image_size,
        embedding_width=features.image_pooled.shape[1],
        channels=section.channels,
        residual_blocks=section.residual_blocks,
        residual_channels=section.residual_channels,
        embedding_dim=section.embedding_dim,
        codebook_size=section.codebook_size,
        text_codes=section.text_codes,
        quantizer=section.quantizer,
        decay=section.decay,
    )
    module = VQVAEModule(VQVAE(sizes), section)
    fit(
        module,
        Batches(train.batch, len(train), section.batch_size, config.seed),
        Sweep(val.batch, len(val), 128),
        max_steps=section.max_steps,
        val_every=section.val_every,
        scratch=workspace.scratch("vqvae"),
        desc="vqvae",
        best=Best("val/loss"),
    )
    with workspace.publish("vqvae") as output:
        save_vqvae(module.network, output.directory)
        output.figures |= {"parameters": parameter_count(module.network), **measure(module.network, test)}
    _report(output.figures, section.codebook_size)


@torch.no_grad()
def measure(network: VQVAE, pairs: Pairs) -> dict[str, float]:
    """Held-out figures: reconstruction, code usage, and pictures found by their caption's codes alone."""
    squared, used = [], {level: np.zeros(network.codebook_size, dtype=np.int64) for level in ("top", "bottom")}
    pictures: list[Tensor] = []
    captions: list[Tensor] = []
    for batch in Sweep(pairs.batch, len(pairs), 128):
        codes = network.encode(batch.image, batch.image_embedding)
        squared.append((network.decode(codes) - batch.image).square().mean(dim=(1, 2, 3)))
        for level, indices in zip(("top", "bottom"), codes, strict=True):
            used[level] += np.bincount(indices.flatten().numpy(), minlength=network.codebook_size)
        pictures.append(network.decode_picture_embedding(network.embed_top(codes.top).movedim(-1, 1)))
        captions.append(network.decode_text_embedding(network.embed_top(network.encode_text(batch.text_embedding))))
    mse = float(torch.cat(squared).mean())
    figures = {"mse": mse, "psnr_db": float(10 * np.log10(4 / mse))}
    for level, counts in used.items():
        shares = counts / counts.sum()
        figures[f"usage_{level}"] = float((counts > 0).mean())
        figures[f"perplexity_{level}"] = float(np.exp(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()))
    similarity = torch.cat(captions) @ torch.cat(pictures).T  # (n,n)
    rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1)
    figures["text_code_retrieval_r10"] = float((rank < 10).float().mean())
    figures["text_code_retrieval_chance"] = min(1.0, 10 / len(pairs))
    return figures


def _report(figures: dict[str, float], codebook_size: int) -> None:
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
    for level in ("top", "bottom"):
        if figures[f"usage_{level}"] < COLLAPSED_BELOW:
            log.warning(
                "vqvae: the %s level uses only %.0f %% of its %d codes: lower vqvae.codebook_size, or set "
                "vqvae.quantizer to ema_restart or cosine",
                level,
                100 * figures[f"usage_{level}"],
                codebook_size,
            )
