"""What a prior is given of captions: every form that one may read, so that who asks need not know which it does."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Captions(NamedTuple):
    """B captions, some of which may be none; the forms are named as in `prior.text`."""

    tokens: Tensor
    """(B,L,4E) BLIP token features, each beside the words around it (`stages.blip.words`)."""
    mask: Tensor
    """(B,L) bool, True where there is a token; a row of all False is no caption, whichever form is read."""
    pooled: Tensor
    """(B,P) BLIP text embedding, unit norm."""
    codes: Tensor
    """(B,n) int64 text codes of the VQ-VAE."""

    @classmethod
    def stacked(cls, singles: Sequence["Captions"]) -> "Captions":
        """B captions from as many of one row; L is the length of the longest."""
        tokens = pad_sequence([single.tokens[0] for single in singles], batch_first=True)
        mask = pad_sequence([single.mask[0] for single in singles], batch_first=True)
        pooled, codes = (torch.cat([getattr(single, form) for single in singles]) for form in ("pooled", "codes"))
        return cls(tokens, mask, pooled, codes)

    @property
    def present(self) -> Tensor:
        """(B,) bool, False where there is no caption."""
        return self.mask.any(dim=1)

    def keep(self, kept: Tensor) -> "Captions":
        """The captions where kept (B,) bool is True, none elsewhere."""
        return self._replace(mask=self.mask & kept[:, None])

    def drop(self) -> "Captions":
        """As many rows, none of which has a caption."""
        return self._replace(mask=torch.zeros_like(self.mask))

    def to(self, device: torch.device) -> "Captions":
        """The captions there."""
        return Captions(*(form.to(device) for form in self))

    def take(self, rows: Tensor) -> "Captions":
        """Those of these rows (n,) int64."""
        return Captions(*(form[rows] for form in self))

    def beside_none(self) -> "Captions":
        """2B rows: the captions, then as many rows without."""
        return Captions(*(torch.cat(rows) for rows in zip(self, self.drop(), strict=True)))
