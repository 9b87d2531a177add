"""A token's features hold the words around it as they are, whatever company the caption puts them in."""

import torch

from stages.blip.blip import Blip
from stages.blip.words import SHARES, beside_words


def test_each_token_lies_beside_the_words_around_it() -> None:
    tokens, words = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    shares = beside_words(tokens, words, mask).unflatten(-1, (SHARES, 3))
    assert shares.shape == (2, 4, 4, 3)
    for row, length in ((0, 4), (1, 2)):
        for place in range(length):
            own, before, word, after = shares[row, place]
            assert torch.equal(own, tokens[row, place]) and torch.equal(word, words[row, place])
            assert torch.equal(before, words[row, place - 1] if place else torch.zeros(3))
            assert torch.equal(after, words[row, place + 1] if place + 1 < length else torch.zeros(3))
        assert not shares[row, length:].any()


def test_padding_changes_nothing() -> None:
    tokens, words, mask = torch.randn(1, 3, 5), torch.randn(1, 3, 5), torch.ones(1, 3, dtype=torch.bool)
    more_tokens, more_words = (torch.cat([part, torch.randn(1, 2, 5)], dim=1) for part in (tokens, words))
    longer = beside_words(more_tokens, more_words, torch.nn.functional.pad(mask, (0, 2)))
    assert torch.equal(longer[:, :3], beside_words(tokens, words, mask)) and not longer[:, 3:].any()


def test_words_are_about_as_strong_as_what_the_encoder_makes_of_them(blip: Blip) -> None:
    tokens, mask, _ = blip.encode_text(["a red patch on blue", "a blue patch"])
    own, before, word, after = tokens[mask].unflatten(-1, (SHARES, blip.text_width)).unbind(1)
    for share in (before, word, after):
        assert 0.5 < own.std() / share[share.any(dim=1)].std() < 2


def test_swapped_words_differ_by_nothing_but_their_places(blip: Blip) -> None:
    """Where the encoder mistakes one caption for the other, these still tell which word stands beside which."""
    one, other = (blip.encode_text([caption]).tokens[0] for caption in ("a red patch on blue", "a blue patch on red"))
    width = blip.text_width
    assert one.shape == other.shape == (7, SHARES * width)  # [CLS] a red patch on blue [SEP]
    before_patch, before_patch_in_other = one[3, width : 2 * width], other[3, width : 2 * width]
    assert torch.equal(before_patch, other[5, 2 * width : 3 * width])  # red, before its patch and as the last word
    assert torch.equal(before_patch_in_other, one[5, 2 * width : 3 * width])
    assert not torch.allclose(before_patch, before_patch_in_other)
