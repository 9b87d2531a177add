"""How a checkpoint is tuned."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from stages.config.diffusion import DiffusionConfig
from stages.diffusion.objective import denoising_losses
from stages.diffusion.pretrained.pairs import TuningBatch, caption_ids
from stages.diffusion.pretrained.pipeline import training_chain
from stages.training import adamw_cosine

WARMUP_STEPS = 50
GOLDEN = 0.6180339887498949  # its multiples modulo 1 lie evenly in [0,1), however many of them there are


class TuningModule(pl.LightningModule):
    """Denoising loss of a latent diffusion model (arXiv:2112.10752, Eq. 3) on the checkpoint's own chain, for what it
    predicts (eps or v), weighted by min(SNR, gamma) (arXiv:2303.09556). Only what has gradients is trained and saved.

    Args:
        pipeline: of the checkpoint, low-rank updates added.
    """

    def __init__(self, pipeline: StableDiffusionPipeline, config: DiffusionConfig) -> None:
        super().__init__()
        self.no_caption: Tensor
        self.unet, self.text_encoder, self.config = pipeline.unet, pipeline.text_encoder, config
        self.scheduler = training_chain(pipeline)
        self.timesteps: int = self.scheduler.config.num_train_timesteps
        self.register_buffer("no_caption", caption_ids(pipeline, [""])[0])  # (L,) int64
        self.trained = [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    def state_dict(self, **options: Any) -> Any:
        """The trained weights alone: what is frozen comes from the checkpoint, and is gigabytes."""
        whole = super().state_dict(**options)
        return {name: whole[name] for name in self.trained}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Reads the trained weights back.

        Raises:
            RuntimeError: there are others than those, or not all of them.
        """
        if set(state_dict) != set(self.trained):
            differing = sorted(set(state_dict) ^ set(self.trained))
            raise RuntimeError(f"these weights are of other low-rank updates: {', '.join(differing[:3])}, ...")
        whole = {**super().state_dict(), **state_dict}  # what is frozen is left as it is
        return super().load_state_dict(whole, strict=strict, assign=assign)

    def training_step(self, batch: TuningBatch, batch_idx: int) -> Tensor:
        size, device = len(batch.mean), batch.mean.device
        kept = torch.rand(size, device=device) >= self.config.caption_dropout
        t = torch.randint(0, self.timesteps, (size,), device=device)
        x_0 = batch.mean + batch.deviation * torch.randn_like(batch.mean)
        input_ids = torch.where(kept[:, None], batch.input_ids, self.no_caption)
        loss = self._losses(x_0, input_ids, t, torch.randn_like(x_0)).mean()
        self.log("train/loss", loss.detach(), batch_size=size)
        return loss

    def validation_step(self, batch: TuningBatch, batch_idx: int) -> None:
        size = len(batch.mean)
        with_true, with_others = self.held_out_losses(batch)
        self.log("val/loss", with_true.mean(), batch_size=size)
        self.log("val/loss_shuffled", with_others.mean(), batch_size=size)

    @torch.no_grad()
    def held_out_losses(self, batch: TuningBatch) -> tuple[Tensor, Tensor]:
        """Losses (B,) with true captions and with others, at one timestep and noise of each pair's own, whatever the
        batches."""
        x_0, eps = _fixed_noise(batch)
        t = ((batch.rows.double() * GOLDEN) % 1 * self.timesteps).long()
        return self._losses(x_0, batch.input_ids, t, eps), self._losses(x_0, batch.other_ids, t, eps)

    def _losses(self, x_0: Tensor, input_ids: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        with torch.no_grad():
            text = self.text_encoder(input_ids)[0]  # (B,L,E)
        x_t = self.scheduler.add_noise(x_0, eps, t)
        predicted = self.unet(x_t, t, encoder_hidden_states=text).sample
        return denoising_losses(predicted, x_0, eps, t, self.scheduler, self.config.min_snr_gamma)

    def configure_optimizers(self) -> Any:
        return adamw_cosine(self, self.config.lr, self.config.weight_decay, WARMUP_STEPS, self.config.max_steps)


def _fixed_noise(batch: TuningBatch) -> tuple[Tensor, Tensor]:
    """x_0 and eps (B,4,h,w), drawn for each pair from its row number alone."""
    shape = (2, *batch.mean.shape[1:])
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(row)) for row in batch.rows.tolist()]
    noise = torch.stack(drawn).to(batch.mean.device)  # (B,2,4,h,w)
    return batch.mean + batch.deviation * noise[:, 0], noise[:, 1]
