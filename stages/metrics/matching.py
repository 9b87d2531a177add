"""What BLIP thinks of pictures with captions: matching probability (ITM) and cosine of the embeddings (ITC)."""

from typing import Protocol

import numpy as np
from torch import Tensor


class Matcher(Protocol):
    """The part of BLIP that is needed here."""

    def embed_text(self, captions: list[str]) -> Tensor:
        """(B,P), unit norm."""

    def encode_images(self, image: Tensor) -> Tensor:
        """(B,P), unit norm."""

    def match(self, image: Tensor, captions: list[str]) -> Tensor:
        """(B,) in [0,1]."""


def itm_probability(matcher: Matcher, image: Tensor, captions: list[str]) -> np.ndarray:
    """Probability (B,) in [0,1] that each picture of an image (B,3,H,W) in [-1,1] and its caption belong together."""
    return matcher.match(image, captions).double().cpu().numpy()


def itc_cosine(matcher: Matcher, image: Tensor, captions: list[str]) -> np.ndarray:
    """Cosine (B,) in [-1,1] of the embeddings of each picture of an image (B,3,H,W) in [-1,1] and its caption."""
    return (matcher.encode_images(image) * matcher.embed_text(captions)).sum(1).double().cpu().numpy()
