"""How the VQ-VAE learns."""

from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.vqvae import VqvaeConfig
from stages.training import adamw_cosine
from stages.vqvae.network import VQVAE, Latents
from stages.vqvae.quantizer import Quantized

ALIGNMENT_TEMPERATURE = 0.1


class PictureBatch(NamedTuple):
    """Pictures with the BLIP embeddings of each and of its caption."""

    image: Tensor
    """(B,3,H,W) in [-1,1]."""
    image_embedding: Tensor
    """(B,P) of unit norm."""
    text_embedding: Tensor
    """(B,P) of unit norm."""


class VQVAEModule(pl.LightningModule):
    """What the loss adds up: picture MSE; the coarse picture from the top alone; the commitment of both levels; giving
    back both embeddings; picture-caption contrast of the codes."""

    def __init__(self, network: VQVAE, config: VqvaeConfig) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config
        self.used: dict[str, Tensor] = {}

    def training_step(self, batch: PictureBatch, batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: PictureBatch, batch_idx: int) -> Tensor:
        return self._step(batch, "val")

    def _step(self, batch: PictureBatch, split: str) -> Tensor:
        image = batch.image.contiguous(memory_format=torch.channels_last)
        latents, captions = self.network.quantize(image, batch.image_embedding, batch.text_embedding)
        values = self._losses(batch._replace(image=image), latents, captions)
        weights = self._weights()
        loss = torch.stack([weights[name] * values[name] for name in weights]).sum()
        values = {"loss": loss, **values}
        self.log_dict({f"{split}/{name}": value.detach() for name, value in values.items()}, batch_size=len(image))
        if split == "val":
            self._count("top", latents.top.indices)
            self._count("bottom", latents.bottom.indices)
        return loss

    def _losses(self, batch: PictureBatch, latents: Latents, captions: Quantized) -> dict[str, Tensor]:
        """Each term of the loss, (), without its weight."""
        painted = self.network.paint(latents.top.z_q, latents.bottom.z_q)
        picture = self.network.decode_picture_embedding(latents.top.z_q)
        caption = self.network.decode_text_embedding(captions.z_q)
        return {
            "mse": F.mse_loss(painted, batch.image),
            "coarse": F.mse_loss(self.network.paint_coarse(latents.top.z_q), F.avg_pool2d(batch.image, 4)),
            "commitment": latents.top.commitment_loss + latents.bottom.commitment_loss,
            "entropy": latents.top.entropy_loss + latents.bottom.entropy_loss,
            "embedding": (
                2 - (picture * batch.image_embedding).sum(-1) - (caption * batch.text_embedding).sum(-1)
            ).mean(),
            "alignment": _contrast(picture, caption),
        }

    def _weights(self) -> dict[str, float]:
        """The weight of each term."""
        config = self.config
        return {
            "mse": 1.0,
            "coarse": config.coarse_weight,
            "commitment": config.commitment_weight,
            "entropy": config.entropy_weight,
            "embedding": config.embedding_weight,
            "alignment": config.alignment_weight,
        }

    def _count(self, level: str, indices: Tensor) -> None:
        counts = torch.bincount(indices.flatten(), minlength=self.network.codebook_size)
        self.used[level] = self.used[level] + counts if level in self.used else counts

    def on_validation_epoch_end(self) -> None:
        for level, counts in self.used.items():
            shares = counts / counts.sum()
            self.log(f"val/usage_{level}", (counts > 0).float().mean())
            self.log(f"val/perplexity_{level}", torch.exp(torch.special.entr(shares).sum()))
        self.used = {}

    def configure_optimizers(self) -> Any:
        return adamw_cosine(self, self.config.lr, self.config.weight_decay, 50, self.config.max_steps)


def _contrast(picture: Tensor, caption: Tensor) -> Tensor:
    """Symmetric InfoNCE (arXiv:1807.03748) over the batch between unit vectors (B,P) and (B,P), nats."""
    logits = picture @ caption.T / ALIGNMENT_TEMPERATURE  # (B,B)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
