"""The `blip` section of a run's config."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

FEATURES_FORMAT = "blip-vq-snail features 2"
"""2: a token's features lie beside the words around it. Of another format, they are made again."""


@dataclass(frozen=True)
class BlipConfig:
    """BLIP (arXiv:2201.12086): how large it is, what it starts from, and how it is tuned. Sizes count for a network
    from scratch only; a pretrained one brings its own."""

    pretrained: str | None = None
    """Checkpoint to start from, a directory or hub name in Hugging Face layout (`Salesforce/blip-itm-base-coco`);
    none: a small network from scratch with its own WordPiece tokenizer."""
    pretrained_captioner: str | None = None
    """Second checkpoint that supplies the captioner's text tower (`Salesforce/blip-image-captioning-base`);
    none: both towers start from `pretrained`."""
    image_size: int | None = None
    """Side of the picture the network sees, pixels; none: that of the data set, or of the checkpoint to start from,
    whose positions are interpolated to any other."""
    patch_size: int = 8
    """Side of one picture token, pixels."""
    vision_width: int = 96
    """Width of the picture encoder (ViT)."""
    vision_layers: int = 3
    """Layers of the picture encoder."""
    vision_heads: int = 4
    """Attention heads of the picture encoder."""
    text_width: int = 96
    """Width E of the text towers; the token features that later stages read are 4E wide (`stages.blip.words`)."""
    text_layers: int = 3
    """Layers of each text tower."""
    text_heads: int = 4
    """Attention heads of each text tower."""
    embedding_width: int = 64
    """Width P of the pooled embeddings that ITC compares (BLIP: 256)."""
    share_text_layers: bool = True
    """Whether matcher and captioner share all text weights but self-attention (arXiv:2201.12086, 3.2)."""
    dropout: float = 0.0
    """Dropout in the text towers, a probability."""
    vocab_size: int = 4000
    """Upper limit of the WordPiece vocabulary, tokens, at least 256."""
    max_tokens: int = 40
    """Longest caption that is read, tokens, [CLS] and [SEP] included; longer ones are truncated and counted."""
    tuned: Literal["all", "last", "lora"] = "all"
    """Which weights are tuned: all, those of the last layers, or low-rank updates of all linear maps (LoRA,
    arXiv:2106.09685), which leave the checkpoint's own as they are and are added to them when published."""
    last_layers: int = 2
    """Layers of each tower that are tuned, counted from its end, where `tuned` is last."""
    lora_rank: int = 8
    """Rank of the updates where `tuned` is lora."""
    lora_alpha: int = 16
    """Updates are scaled by lora_alpha / lora_rank."""
    gradient_checkpointing: bool = False
    """Whether layers are computed again in the backward pass rather than kept: less memory, a third more time."""
    queue_size: int = 2048
    """Past pairs that ITC compares with, beside the batch, and that the hard captions of ITM are drawn from (BLIP:
    57,600); 0: the batch alone, in which a caption that differs in just one thing hardly ever is."""
    momentum: float = 0.99
    """Share of the momentum encoders' weights that stays at each step, where there is a queue (BLIP: 0.995)."""
    nearest: int = 64
    """How many of the queue's captions, those nearest to a picture, its hard caption is drawn from, evenly: among the
    very nearest are captions that are true of it, too."""
    itc_weight: float = 1.0
    """Weight of the image-text contrastive loss."""
    itm_weight: float = 1.0
    """Weight of the image-text matching loss."""
    itm_share: float = 0.5
    """Share of a batch's pairs that ITM sees, each with two hard negatives; it is the dearest of the three losses."""
    lm_weight: float = 8.0
    """Weight of the caption loss (BLIP: 1; nats per token, of which a new network finds few that say what is seen)."""
    temperature: float = 0.07
    """Temperature of ITC at the start, from 0.01 to 0.5; it is learned (arXiv:2201.12086)."""
    max_steps: int = 700
    """Optimiser steps."""
    batch_size: int = 32
    """Pairs in a batch; ITC's negatives are those of the batch and the queue."""
    accumulate: int = 1
    """Batches whose gradients one step takes; negatives stay those of each batch."""
    optimizer: Literal["adamw", "radam_lookahead"] = "adamw"
    """AdamW with warm-up and cosine, or RAdam inside Lookahead at a constant rate (as published)."""
    lr: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay (BLIP: 0.05)."""
    warmup_steps: int = 30
    """Steps of linear warm-up."""
    val_every: int = 175
    """Steps between validations; the weights of the best (mean of R@1, R@5, R@10) are kept."""
    patience: int = 0
    """Validations in a row without a new best after which training ends; 0: never."""

    def fingerprint(self) -> dict[str, Any]:
        """What decides the weights and the features."""
        return asdict(self) | {"format": FEATURES_FORMAT}

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"blip.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("itc_weight", "itm_weight", "lm_weight", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"blip.{name} must not be negative, got {getattr(self, name)}")
        for tower in ("vision", "text"):
            width, heads = getattr(self, f"{tower}_width"), getattr(self, f"{tower}_heads")
            if width % heads:
                raise ValueError(f"blip.{tower}_width must be a multiple of {tower}_heads, got {width} and {heads}")
        if self.image_size is not None and (self.image_size < self.patch_size or self.image_size % self.patch_size):
            raise ValueError(f"blip.image_size must be a multiple of blip.patch_size, got {self.image_size}")
        if self.max_tokens < 4:
            raise ValueError(f"blip.max_tokens must be at least 4, got {self.max_tokens}")
        if self.vocab_size < 256:
            raise ValueError(f"blip.vocab_size must be at least 256 (letters, special tokens), got {self.vocab_size}")
        if self.batch_size < 2:
            raise ValueError(f"blip.batch_size must be at least 2 (ITC needs a negative), got {self.batch_size}")
        if not 0.01 <= self.temperature <= 0.5:
            raise ValueError(f"blip.temperature must be in [0.01, 0.5], got {self.temperature}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"blip.dropout must be in [0, 1), got {self.dropout}")
        if not 0 < self.itm_share <= 1:
            raise ValueError(f"blip.itm_share must be in (0, 1], got {self.itm_share}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"blip.momentum must be in [0, 1), got {self.momentum}")
        if 0 < self.queue_size < self.batch_size:
            raise ValueError(f"blip.queue_size must be 0 or at least blip.batch_size, got {self.queue_size}")
        if self.tuned != "all" and not self.pretrained:
            raise ValueError(f"blip.tuned: {self.tuned} needs blip.pretrained: a new network has nothing to keep")
        if self.lr <= 0:
            raise ValueError(f"blip.lr must be positive, got {self.lr}")
        for name in ("warmup_steps", "patience", "queue_size"):
            if getattr(self, name) < 0:
                raise ValueError(f"blip.{name} must not be negative, got {getattr(self, name)}")
        if self.pretrained_captioner and not self.pretrained:
            raise ValueError("blip.pretrained_captioner needs blip.pretrained, which supplies the picture encoder")


_COUNTS = (
    "patch_size",
    "vision_width",
    "vision_layers",
    "vision_heads",
    "text_width",
    "text_layers",
    "text_heads",
    "embedding_width",
    "max_steps",
    "val_every",
    "accumulate",
    "last_layers",
    "lora_rank",
    "lora_alpha",
    "nearest",
)
