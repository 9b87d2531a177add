"""How the baseline learns."""

from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from stages.config.diffusion import DiffusionConfig
from stages.diffusion.network import training_scheduler
from stages.diffusion.objective import denoising_losses
from stages.training import adamw_cosine, other_rows


class NoisingBatch(NamedTuple):
    """What is to be noised, with its captions' features."""

    x_0: Tensor
    """(B,C,h,w), of deviation about 1."""
    text: Tensor
    """(B,L,4E) BLIP token features, each beside the words around it."""
    text_mask: Tensor
    """(B,L) bool."""


def drop_captions(text: Tensor, mask: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Replaces the captions where kept (B,) bool is False by none: zeros at one visible token."""
    none = torch.zeros_like(mask)
    none[:, 0] = True
    return text * kept[:, None, None], torch.where(kept[:, None], mask, none)


class DiffusionModule(pl.LightningModule):
    """`denoising_losses` at random timesteps, given the caption or, for guidance, none."""

    def __init__(self, network: UNet2DConditionModel, config: DiffusionConfig) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.config = config
        self.scheduler = training_scheduler(config)

    def training_step(self, batch: NoisingBatch, batch_idx: int) -> Tensor:
        kept = torch.rand(len(batch.x_0), device=batch.x_0.device) >= self.config.caption_dropout
        t = torch.randint(0, self.config.train_timesteps, (len(batch.x_0),), device=batch.x_0.device)
        loss = self._losses(batch, kept, t, torch.randn_like(batch.x_0)).mean()
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: NoisingBatch, batch_idx: int) -> None:
        with_true, with_others = self.held_out_losses(batch, batch_idx)
        self.log("val/loss", with_true.mean(), batch_size=len(batch.x_0))
        self.log("val/loss_shuffled", with_others.mean(), batch_size=len(batch.x_0))

    @torch.no_grad()
    def held_out_losses(self, batch: NoisingBatch, number: int) -> tuple[Tensor, Tensor]:
        """Losses (B,) with true captions and with others' at evenly spaced timesteps.

        Args:
            number: of the batch; its noise is the same at each validation.
        """
        size, device = len(batch.x_0), batch.x_0.device
        t = (torch.arange(size) * self.config.train_timesteps // size).to(device)
        eps = torch.randn(batch.x_0.shape, generator=torch.Generator().manual_seed(number)).to(device)
        everyone = torch.ones(size, dtype=torch.bool, device=device)
        others = other_rows(batch.x_0, batch.text)
        shuffled = batch._replace(text=batch.text[others], text_mask=batch.text_mask[others])
        return self._losses(batch, everyone, t, eps), self._losses(shuffled, everyone, t, eps)

    def _losses(self, batch: NoisingBatch, kept: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """(B,), with the captions where kept (B,) is True."""
        text, mask = drop_captions(batch.text, batch.text_mask, kept)
        x_t = self.scheduler.add_noise(batch.x_0, eps, t).contiguous(memory_format=torch.channels_last)
        predicted = self.network(x_t, t, encoder_hidden_states=text, encoder_attention_mask=mask).sample
        return denoising_losses(predicted, batch.x_0, eps, t, self.scheduler, self.config.min_snr_gamma)

    def configure_optimizers(self) -> Any:
        return adamw_cosine(self, self.config.lr, self.config.weight_decay, 50, self.config.max_steps)
