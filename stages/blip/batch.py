"""Pairs of picture and caption in batches."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import BertTokenizerFast

from stages.blip.metrics import number_texts
from stages.blip.tokenizer import encode_captions
from stages.data import PreparedSet, Split, to_tensor


class Batch(NamedTuple):
    """Pairs of picture and caption."""

    image: Tensor  # (B,3,H,W) in [-1,1]
    input_ids: Tensor  # (B,L) int64
    attention_mask: Tensor  # (B,L) int64
    image_index: Tensor  # (B,) int64, equal where the picture is the same
    caption_index: Tensor  # (B,) int64, equal where the caption is the same


class Pairs:
    """The pairs of a split as batches, captions turned into tokens once."""

    def __init__(self, dataset: PreparedSet, split: Split, tokenizer: BertTokenizerFast, max_tokens: int) -> None:
        self.images, self.image_rows = dataset.images, split.image_rows
        encoded = encode_captions(tokenizer, split.captions, max_tokens)
        self.truncated = encoded.truncated
        self.input_ids, self.attention_mask = encoded.input_ids, encoded.attention_mask
        self.lengths = self.attention_mask.sum(1)
        self.caption_index = number_texts(caption.lower() for caption in split.captions)

    def __len__(self) -> int:
        return len(self.image_rows)

    def batch(self, rows: np.ndarray) -> Batch:
        """The pairs of row numbers (B,) int64, captions padded to the longest of them."""
        longest = int(self.lengths[rows].max())
        return Batch(
            image=to_tensor(self.images[self.image_rows[rows]]),
            input_ids=self.input_ids[rows, :longest],
            attention_mask=self.attention_mask[rows, :longest],
            image_index=torch.from_numpy(self.image_rows[rows]),
            caption_index=torch.from_numpy(self.caption_index[rows]),
        )


class InOrder:
    """Every pair once, in order; a last single pair, which has nothing to be told apart from, is left out."""

    def __init__(self, pairs: Pairs, batch_size: int) -> None:
        self.pairs, self.batch_size = pairs, batch_size

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.pairs) - 1, self.batch_size):
            yield self.pairs.batch(np.arange(start, min(start + self.batch_size, len(self.pairs))))
