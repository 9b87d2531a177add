"""The tuned BLIP as later stages use it: embeds captions and pictures, matches them, captions pictures."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import BertTokenizerFast

from stages.blip.network import BlipNetwork
from stages.blip.pretrained import load_network
from stages.blip.tokenizer import decode_captions, encode_captions
from stages.blip.words import beside_words
from stages.errors import StageError

DESCRIPTION = "blip.json"
_log = logging.getLogger("stages.blip")


class TextFeatures(NamedTuple):
    """What the text encoder makes of captions, the picture unseen, and their words beside it."""

    tokens: Tensor  # (B,L,4E), 0 where masked: `beside_words`
    mask: Tensor  # (B,L) bool, True = token
    pooled: Tensor  # (B,P) unit norm


class Blip:
    """A BLIP network with its tokenizer, in eval mode, without gradients.

    Args:
        max_tokens: longest caption that is read; the rest of a longer one is dropped, with a line in the log.
    """

    def __init__(self, network: BlipNetwork, tokenizer: BertTokenizerFast, max_tokens: int) -> None:
        self.network = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.text_width = network.text_width
        self.embedding_width = network.embedding_width

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where results are returned."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> "Blip":
        """Moves the weights; returns itself."""
        self.network.to(device)
        return self

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        """Text tokens, mask and pooled embeddings of B captions; L is the length of the longest of them."""
        input_ids, attention_mask = self._tokens(captions)
        encoded = self.network.encode_text(input_ids, attention_mask)
        mask = attention_mask.bool()
        return TextFeatures(beside_words(encoded.tokens, self.network.words(input_ids), mask), mask, encoded.pooled)

    @torch.no_grad()
    def embed_text(self, captions: Sequence[str]) -> Tensor:
        """Pooled embeddings (B,P), unit norm, of B captions, where their tokens are not needed."""
        return self.network.embed_text(*self._tokens(captions))

    @torch.no_grad()
    def encode_images(self, image: Tensor) -> Tensor:
        """Pooled embeddings (B,P), unit norm, of an image (B,3,H,W) in [-1,1]."""
        return self.network.encode_images(image.to(self.device)).pooled

    @torch.no_grad()
    def match(self, image: Tensor, captions: Sequence[str]) -> Tensor:
        """Probability (B,) in [0,1] that each picture of an image (B,3,H,W) in [-1,1] and its caption are related."""
        input_ids, attention_mask = self._tokens(captions)
        image_tokens = self.network.encode_images(image.to(self.device)).tokens
        return self.network.match(image_tokens, input_ids, attention_mask).softmax(1)[:, 1]

    @torch.no_grad()
    def caption(self, image: Tensor) -> list[str]:
        """Greedy captions of the pictures of an image (B,3,H,W) in [-1,1]."""
        return decode_captions(self.tokenizer, self.network.generate(image.to(self.device), self.max_tokens))

    def _tokens(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        encoded = encode_captions(self.tokenizer, captions, self.max_tokens)
        if encoded.truncated:
            _log.warning("%d of %d captions truncated to %d tokens", encoded.truncated, len(captions), self.max_tokens)
        return encoded.input_ids.to(self.device), encoded.attention_mask.to(self.device)


def load_blip(directory: Path) -> Blip:
    """The BLIP that the stage published in `directory`, on the CPU.

    Raises:
        StageError: there is none.
    """
    path = Path(directory) / DESCRIPTION
    if not path.is_file():
        raise StageError(f"{path} is missing: no published BLIP there; run: make blip")
    network, tokenizer = load_network(Path(directory))
    return Blip(network, tokenizer, int(json.loads(path.read_text())["max_tokens"]))
