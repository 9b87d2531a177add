"""How the VQ-VAE learns."""

from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from stages.config.vqvae import VqvaeConfig
from stages.training import adamw_cosine
from stages.vqvae.adversarial import PatchDiscriminator, adaptive_weight, adversarial_losses
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
    """What the loss adds up: the picture's error; the coarse picture's from the top alone; the quantizers' own losses;
    giving back both embeddings; picture-caption contrast of the codes; if wanted, LPIPS and an adversary.

    In validation the quantizers' losses are 0 and the adversary is left out: it measures by an opponent that changes.
    The contrast is over the batch, and lower over the smaller ones that larger pictures are validated in.

    Args:
        lpips: the network of LPIPS, needed where its weight is above 0. It is no part of the module: its frozen weights
            are in no checkpoint, and it stays in eval mode.
    """

    def __init__(self, network: VQVAE, config: VqvaeConfig, lpips: nn.Module | None = None) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.discriminator: PatchDiscriminator | None = None
        if config.gan_weight > 0:
            discriminator = PatchDiscriminator(config.gan_channels)
            self.discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config
        self.lpips = (lpips,)  # in a tuple, where Lightning does not register it
        self.used: dict[str, Tensor] = {}

    def training_step(self, batch: PictureBatch, batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: PictureBatch, batch_idx: int) -> Tensor:
        return self._step(batch, "val")

    def _step(self, batch: PictureBatch, split: str) -> Tensor:
        image = batch.image.contiguous(memory_format=torch.channels_last)
        latents, captions = self.network.quantize(image, batch.image_embedding, batch.text_embedding)
        painted = self.network.paint(latents.top.z_q, latents.bottom.z_q).float()
        values = self._picture_losses(image, painted, latents.decoded_top) | self._code_losses(batch, latents, captions)
        weights = self._weights()
        loss = torch.stack([weights[name] * values[name] for name in weights]).sum()
        if split == "train" and self.discriminator is not None and self.global_step >= self.config.gan_start:
            against = adversarial_losses(self.discriminator, image, painted)
            weight = self._gan_weight(values, against.generator)
            loss = loss + weight * against.generator + against.discriminator
            values |= {"adversarial": against.generator, "discriminator": against.discriminator, "gan_weight": weight}
        values = {"loss": loss, **values}
        self.log_dict({f"{split}/{name}": value.detach() for name, value in values.items()}, batch_size=len(image))
        if split == "val":
            self._count("top", latents.top.indices)
            self._count("bottom", latents.bottom.indices)
        return loss

    def _picture_losses(self, image: Tensor, painted: Tensor, decoded_top: Tensor) -> dict[str, Tensor]:
        """Terms of the loss, (), without their weights; the mean squared error is always there, weighed or not."""
        coarse, coarse_image = self.network.paint_coarse(decoded_top).float(), F.avg_pool2d(image, 4)
        values = {"mse": F.mse_loss(painted, image)}
        if self.config.reconstruction == "l1":
            values |= {"l1": F.l1_loss(painted, image), "coarse": F.l1_loss(coarse, coarse_image)}
        else:
            values["coarse"] = F.mse_loss(coarse, coarse_image)
        (lpips,) = self.lpips
        if self.config.lpips_weight > 0 and lpips is not None:
            values["lpips"] = lpips.to(image.device)(painted, image).mean()
        return values

    def _code_losses(self, batch: PictureBatch, latents: Latents, captions: Quantized) -> dict[str, Tensor]:
        """Terms of the loss, (), without their weights."""
        picture = self.network.decode_picture_embedding(latents.top.z_q).float()
        caption = self.network.decode_text_embedding(captions.z_q).float()
        back = 2 - (picture * batch.image_embedding).sum(-1) - (caption * batch.text_embedding).sum(-1)  # (B,)
        values = {
            "commitment": latents.top.commitment_loss + latents.bottom.commitment_loss,
            "embedding": back.mean(),
            "alignment": _contrast(picture, caption),
        }
        if self.network.sizes.quantizer == "lfq":
            values["entropy"] = latents.top.entropy_loss + latents.bottom.entropy_loss
        return values

    def _weights(self) -> dict[str, float]:
        """The weight of each term that the loss has."""
        config = self.config
        weights = {
            config.reconstruction: 1.0,
            "coarse": config.coarse_weight,
            "commitment": config.commitment_weight,
            "embedding": config.embedding_weight,
            "alignment": config.alignment_weight,
        }
        if self.network.sizes.quantizer == "lfq":
            weights["entropy"] = config.entropy_weight
        if config.lpips_weight > 0:
            weights["lpips"] = config.lpips_weight
        return weights

    def _gan_weight(self, values: dict[str, Tensor], generator: Tensor) -> Tensor:
        """() weight of the generator's adversarial loss."""
        if not self.config.gan_adaptive:
            return generator.new_tensor(self.config.gan_weight)
        picture = values[self.config.reconstruction]
        if "lpips" in values:
            picture = picture + self.config.lpips_weight * values["lpips"]
        last = self.network.decoder[-1].weight
        return self.config.gan_weight * adaptive_weight(picture, generator, last)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the norm of each network's gradients by itself: neither must shorten the other's steps."""
        for network in self.children():
            if gradient_clip_val is not None:
                nn.utils.clip_grad_norm_(network.parameters(), gradient_clip_val)

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
