"""A dropped caption is no caption, one that is taken is whole, whichever form of it is read."""

import torch

from stages.prior.captions import Captions

CAPTIONS = Captions(
    torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)),
    torch.tensor([[True, True], [True, False], [False, False]]),
    torch.randn(3, 5, generator=torch.Generator().manual_seed(1)),
    torch.arange(6).view(3, 2),
)


def test_what_is_dropped_is_not_present() -> None:
    assert CAPTIONS.present.tolist() == [True, True, False]
    assert CAPTIONS.keep(torch.tensor([True, False, True])).present.tolist() == [True, False, False]
    assert not CAPTIONS.drop().mask.any()


def test_a_caption_is_taken_in_every_form() -> None:
    for form, taken in zip(CAPTIONS, CAPTIONS.take(torch.tensor([2, 0, 1])), strict=True):
        assert torch.equal(taken, form[[2, 0, 1]])


def test_captions_of_their_own_lengths_are_stacked() -> None:
    singles = [CAPTIONS.take(torch.tensor([row])) for row in (1, 0, 2)]
    singles[0] = singles[0]._replace(tokens=singles[0].tokens[:, :1], mask=singles[0].mask[:, :1])
    stacked, whole = Captions.stacked(singles), CAPTIONS.take(torch.tensor([1, 0, 2]))
    for form in ("mask", "pooled", "codes"):
        assert torch.equal(getattr(stacked, form), getattr(whole, form))
    assert torch.equal(stacked.tokens[0, 0], whole.tokens[0, 0]) and torch.equal(stacked.tokens[1:], whole.tokens[1:])


def test_beside_the_captions_stand_as_many_rows_without() -> None:
    doubled = CAPTIONS.beside_none()
    assert doubled.present.tolist() == [True, True, False, False, False, False]
    for form, rows in zip(CAPTIONS, doubled, strict=True):
        assert len(rows) == 6 and torch.equal(rows[:3], form)
