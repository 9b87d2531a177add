"""In what precision a network multiplies, while it is trained and after."""

import logging
from typing import Any

import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.plugins.precision import Precision as PrecisionPlugin

from stages.config.precision import Precision

log = logging.getLogger("stages.training")


class Bfloat16(MixedPrecision):
    """Products and convolutions in bfloat16 (autocast), weights and the rest in float32."""

    def __init__(self) -> None:
        super().__init__("bf16-mixed", "cuda" if torch.cuda.is_available() else "cpu")

    def clip_gradients(self, *args: Any, **kwargs: Any) -> None:
        """Clips as without autocast. Lightning refuses a fused optimiser, for a scaler that bfloat16 does not have."""
        PrecisionPlugin.clip_gradients(self, *args, **kwargs)


def precision_plugin(wanted: Precision) -> PrecisionPlugin:
    """For Lightning's trainer. What a processor would only emulate, many times slower, is done in float32, and said."""
    if wanted == "float32":
        return PrecisionPlugin()
    if not multiplies_bfloat16():
        log.warning("this machine does not multiply bfloat16: training in float32")
        return PrecisionPlugin()
    return Bfloat16()


def multiplying_in(wanted: Precision) -> torch.autocast:
    """What networks are used in where they are to multiply as `precision_plugin` has them trained."""
    enabled = wanted == "bfloat16" and multiplies_bfloat16()
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16, enabled=enabled)


def multiplies_bfloat16() -> bool:
    """Whether the device that Lightning would choose has instructions for bfloat16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available():
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
