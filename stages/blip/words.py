"""Beside what BLIP's encoder makes of each token, the words there and next to it as they are.

The encoder has read whole captions, and of a pair of words that training never shows it makes the pair that it knows:
"a blue candle beside a red book" becomes a red candle and a blue book. What stands next to a word says which colour is
its own, in any company. A reader that is given both has what it needs for either. A word is what the tokenizer makes
one token of, a piece of a rare one, and so are the signs for a caption's start and end.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SHARES = 4
"""Of a token's features: what the encoder makes of it, the word before, the word itself, the word after."""


def words_of(embeddings: Tensor) -> Tensor:
    """Word embeddings (...,E), each of mean 0 and deviation 1: nearly as strong as what the encoder makes of tokens."""
    return F.layer_norm(embeddings, embeddings.shape[-1:])


def beside_words(tokens: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """What the encoder makes of tokens (B,L,E) beside their words (B,L,E): (B,L,4E), 0 where mask (B,L) bool is False.

    A caption has the same features whatever it is padded to: behind its end, as before its start, there is no word.
    """
    there = mask[..., None]
    words = words * there
    before, after = F.pad(words, (0, 0, 1, 0))[:, :-1], F.pad(words, (0, 0, 0, 1))[:, 1:]
    return torch.cat([tokens, before, words, after], dim=-1) * there
