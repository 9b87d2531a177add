"""How the baseline learns."""

from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.training_utils import compute_snr
from torch import Tensor

from stages.config.diffusion import DiffusionConfig
from stages.diffusion.network import training_scheduler
from stages.training import adamw_cosine


class NoisingBatch(NamedTuple):
    """What is to be noised, with its captions' features."""

    x_0: Tensor
    """(B,C,h,w), of deviation about 1."""
    text: Tensor
    """(B,L,E) BLIP token features."""
    text_mask: Tensor
    """(B,L) bool."""


def drop_captions(text: Tensor, mask: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Replaces the captions where kept (B,) bool is False by none: zeros at one visible token."""
    none = torch.zeros_like(mask)
    none[:, 0] = True
    return text * kept[:, None, None], torch.where(kept[:, None], mask, none)


class DiffusionModule(pl.LightningModule):
    """Denoising loss at random timesteps (arXiv:2006.11239, Eq. 14), weighted by min(SNR, gamma) (arXiv:2303.09556)."""

    def __init__(self, network: UNet2DConditionModel, config: DiffusionConfig) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.config = config
        self.scheduler = training_scheduler(config)

    def training_step(self, batch: NoisingBatch, batch_idx: int) -> Tensor:
        kept = torch.rand(len(batch.x_0), device=batch.x_0.device) >= self.config.caption_dropout
        t = torch.randint(0, self.config.train_timesteps, (len(batch.x_0),), device=batch.x_0.device)
        loss = self._step(batch, kept, t, torch.randn_like(batch.x_0))
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: NoisingBatch, batch_idx: int) -> None:
        size = len(batch.x_0)
        generator = torch.Generator().manual_seed(batch_idx)  # the same noise at each validation
        t = (torch.arange(size) * self.config.train_timesteps // size).to(batch.x_0.device)
        eps = torch.randn(batch.x_0.shape, generator=generator).to(batch.x_0.device)
        everyone = torch.ones(size, dtype=torch.bool, device=batch.x_0.device)
        shuffled = batch._replace(text=batch.text.roll(1, dims=0), text_mask=batch.text_mask.roll(1, dims=0))
        self.log("val/loss", self._step(batch, everyone, t, eps), batch_size=size)
        self.log("val/loss_shuffled", self._step(shuffled, everyone, t, eps), batch_size=size)

    def _step(self, batch: NoisingBatch, kept: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        text, mask = drop_captions(batch.text, batch.text_mask, kept)
        x_t = self.scheduler.add_noise(batch.x_0, eps, t).contiguous(memory_format=torch.channels_last)
        predicted = self.network(x_t, t, encoder_hidden_states=text, encoder_attention_mask=mask).sample
        is_v = self.config.prediction_type == "v_prediction"
        target = self.scheduler.get_velocity(batch.x_0, eps, t) if is_v else eps
        squared = F.mse_loss(predicted, target, reduction="none").mean(dim=(1, 2, 3))  # (B,)
        return (squared * self._weight(t, is_v)).mean()

    def _weight(self, t: Tensor, is_v: bool) -> Tensor:
        if self.config.min_snr_gamma == 0:
            return torch.ones(len(t), device=t.device)
        snr = compute_snr(self.scheduler, t)
        weight: Tensor = snr.clamp(max=self.config.min_snr_gamma) / (snr + 1 if is_v else snr)
        return weight

    def configure_optimizers(self) -> Any:
        return adamw_cosine(self, self.config.lr, self.config.weight_decay, 50, self.config.max_steps)
