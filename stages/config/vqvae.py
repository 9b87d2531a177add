"""Section `vqvae`: the two-level VQ-VAE over pictures and BLIP embeddings."""

from dataclasses import dataclass
from typing import Literal

from stages.config.precision import Precision


@dataclass(frozen=True)
class VqvaeConfig:
    """Sizes, losses and budget of the VQ-VAE. Published sizes: arXiv:1906.00446 as in `configs/paper.yaml`."""

    channels: int = 64
    """Width of the encoders and decoders (published: 128)."""
    residual_blocks: int = 2
    """Residual blocks in each encoder and decoder (published: 2)."""
    residual_channels: int = 32
    """Inner width of a residual block (published: 32)."""
    embedding_dim: int = 8
    """Dimension D of a code vector (published: 64)."""
    codebook_size: int = 128
    """Codes K in each of the two code books, from 2 to 65,536 (published: 512)."""
    text_codes: int = 8
    """Codes that a caption's embedding becomes, taken from the top level's code book."""
    quantizer: Literal["ema", "ema_restart", "cosine", "rotation", "fsq", "lfq"] = "ema_restart"
    """`ema` as published; `ema_restart` with k-means start and dead codes restarted; `cosine` and `rotation`
    (arXiv:2410.06424) are `ema_restart` with cosine lookup or with the rotation trick; `fsq` (arXiv:2309.15505), whose
    levels, each from 3 to 8, follow from codebook_size; `lfq` (arXiv:2310.05737), codebook_size a power of two."""
    decay: float = 0.95
    """Decay of the code books' moving averages, per step (published: 0.99); `fsq` and `lfq` have none."""
    reconstruction: Literal["mse", "l1"] = "mse"
    """Error of the picture and of the coarse picture that the loss has: mean squared or mean absolute."""
    commitment_weight: float = 0.25
    """Weight of the commitment loss of each level (published: 0.25); `fsq` has none."""
    entropy_weight: float = 0.1
    """Weight of the entropy loss of each level with `lfq` (nats; arXiv:2310.05737), which the others do not have."""
    coarse_weight: float = 0.5
    """Weight of painting the picture at a quarter of its side from the top level alone. Without it the top level ends
    up holding little that the bottom level does not, and a prior learns nothing from it."""
    embedding_weight: float = 0.002
    """Weight of giving back both BLIP embeddings, as 1 - cosine."""
    alignment_weight: float = 0.001
    """Weight of the contrast between a picture's top codes and its caption's codes (InfoNCE, nats)."""
    lpips_weight: float = 0.0
    """Weight of LPIPS (arXiv:1801.03924) between picture and reconstruction, for larger pictures (VQGAN: 1). Above 0 it
    needs the ImageNet weights of the backbone, and is refused without."""
    lpips_backbone: Literal["vgg", "alex"] = "vgg"
    """Network whose features LPIPS compares (VQGAN: vgg)."""
    gan_weight: float = 0.0
    """Weight of a patch discriminator's hinge loss (arXiv:2012.09841), for larger pictures; 0 for none. With it the
    weights after the last step are kept, not those of the lowest error, which an adversary raises on purpose."""
    gan_adaptive: bool = True
    """Whether gan_weight is times the ratio of gradients at the decoder's last layer, Eq. 7 of arXiv:2012.09841."""
    gan_start: int = 0
    """Step from which the discriminator learns and is learnt from."""
    gan_channels: int = 64
    """Width of the discriminator after its first convolution (arXiv:1611.07004: 64), a multiple of 8."""
    ema_decay: float | None = None
    """Decay per step of the moving average of weights and code books that is validated and published; null for the
    weights themselves."""
    batch_size: int = 32
    """Pictures a step."""
    max_steps: int = 1800
    """Optimiser steps."""
    lr: float = 3e-3
    """Peak learning rate of AdamW, after a rise over 50 steps or a tenth of all; from there it falls to 0 by a cosine
    up to `max_steps` (published: 3e-4, constant)."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW, on convolutions and matrices."""
    val_every: int = 450
    """Steps between validations; the weights of the best (lowest loss) are kept."""
    precision: Precision = "float32"
    """Of the encoders' and decoders' convolutions in training: `bfloat16` is faster where the hardware multiplies it
    (elsewhere the stage trains in float32 and says so). Codes are looked up, and losses taken, in float32."""

    def __post_init__(self) -> None:
        for name in (
            "channels",
            "residual_channels",
            "embedding_dim",
            "codebook_size",
            "text_codes",
            "batch_size",
            "max_steps",
            "val_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"vqvae.{name} must be at least 1, got {getattr(self, name)}")
        for name in _WEIGHTS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"vqvae.{name} must not be negative, got {getattr(self, name)}")
        if not 2 <= self.codebook_size <= 65536:
            raise ValueError(
                f"vqvae.codebook_size must be in [2, 65536] (codes are stored as uint16), got {self.codebook_size}"
            )
        if not 0 < self.decay < 1:
            raise ValueError(f"vqvae.decay must be in (0, 1), got {self.decay}")
        if self.lr <= 0:
            raise ValueError(f"vqvae.lr must be above 0, got {self.lr}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"vqvae.ema_decay must be in (0, 1) or null, got {self.ema_decay}")
        self._check_quantizer()
        self._check_adversary()

    def _check_quantizer(self) -> None:
        if self.quantizer == "fsq":
            fsq_levels(self.codebook_size)
        if self.quantizer == "lfq" and self.codebook_size & (self.codebook_size - 1):
            below = 1 << (self.codebook_size.bit_length() - 1)
            raise ValueError(
                f"vqvae.codebook_size must be a power of two with vqvae.quantizer lfq, got {self.codebook_size}; "
                f"the nearest are {below} and {2 * below}"
            )

    def _check_adversary(self) -> None:
        if self.gan_channels < 8 or self.gan_channels % 8:
            raise ValueError(f"vqvae.gan_channels must be a multiple of 8, got {self.gan_channels}")
        if self.gan_start < 0:
            raise ValueError(f"vqvae.gan_start must not be negative, got {self.gan_start}")
        if self.gan_weight > 0 and self.gan_start >= self.max_steps:
            raise ValueError(f"vqvae.gan_start must be below max_steps ({self.max_steps}), got {self.gan_start}")


_WEIGHTS = (
    "commitment_weight",
    "entropy_weight",
    "coarse_weight",
    "lpips_weight",
    "gan_weight",
    "embedding_weight",
    "alignment_weight",
    "weight_decay",
)


def fsq_levels(codebook_size: int) -> tuple[int, ...]:
    """Levels of FSQ whose product is exactly the code book's size K, largest first.

    Of all products of levels from 3 to 8 those with the fewest levels, of these the one whose smallest is largest. For
    the sizes that arXiv:2309.15505 recommends (240, 1000, 4375, 15360, 64000) these are the levels of its Table 1.

    Raises:
        ValueError: K is no such product; the nearest that are get named.
    """
    choices = _products(codebook_size, 8)
    if choices:
        return min(choices, key=lambda levels: (len(levels), -min(levels)))
    below = next((str(size) for size in range(codebook_size - 1, 2, -1) if _products(size, 8)), None)
    above = next(str(size) for size in range(max(3, codebook_size + 1), 2 * codebook_size + 3) if _products(size, 8))
    raise ValueError(
        "vqvae.codebook_size must be a product of levels from 3 to 8 with vqvae.quantizer fsq, "
        f"got {codebook_size}; the nearest: {' and '.join(filter(None, (below, above)))}"
    )


def _products(size: int, largest: int) -> list[tuple[int, ...]]:
    """Every way to write `size` as a product of levels from `largest` down to 3, none rising."""
    if size == 1:
        return [()]
    divisors = [level for level in range(largest, 2, -1) if size % level == 0]
    return [(level, *rest) for level in divisors for rest in _products(size // level, level)]
