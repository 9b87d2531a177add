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
    if not multiplies_bfloat16(_lightning_s_choice()):
        log.warning("this machine does not multiply bfloat16: training in float32")
        return PrecisionPlugin()
    return Bfloat16()


def multiplying_in(wanted: Precision, device: torch.device) -> torch.autocast:
    """What a network on that device is used in where it is to multiply as `precision_plugin` has it trained."""
    enabled = wanted == "bfloat16" and multiplies_bfloat16(device.type)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def multiplies_bfloat16(device_type: str) -> bool:
    """Whether such a device of this machine has instructions for bfloat16."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def _lightning_s_choice() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
