import math

import pytest
import torch
from torch.nn import functional as F
from transformers.models.blip.modeling_blip import image_text_contrastive_loss

from stages.blip.losses import hard_negatives, itc_loss, itm_loss, lm_loss, nearest_negatives, related_pairs


def unit(rows: int, width: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def within(image_index: list[int], caption_index: list[int]) -> torch.Tensor:
    """What is related within a batch."""
    image, caption = torch.tensor(image_index), torch.tensor(caption_index)
    return related_pairs(image, caption, image, caption)


def test_related_pairs_share_picture_or_words() -> None:
    assert within([0, 0, 1, 2], [5, 6, 6, 7]).tolist() == [
        [True, True, False, False],
        [True, True, True, False],
        [False, True, True, False],
        [False, False, False, True],
    ]


def test_pairs_are_related_to_those_of_a_bank_by_its_own_indices() -> None:
    batch, bank = torch.tensor([[0, 1], [5, 6]]), torch.tensor([[0, 1, 5, 2, 1], [9, 9, 9, 5, 6]])
    assert related_pairs(*batch, *bank).tolist() == [
        [True, False, False, True, False],  # picture 0, words 5; row 2 shows picture 5
        [False, True, False, False, True],
    ]


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_itc_agrees_with_transformers_where_every_caption_has_one_picture(temperature: float) -> None:
    image, text = unit(6, 8, 0), unit(6, 8, 1)
    loss = itc_loss(image, text, image, text, torch.eye(6, dtype=torch.bool), torch.tensor(temperature))
    assert loss.item() == pytest.approx(image_text_contrastive_loss(text @ image.T / temperature).item(), rel=1e-6)


def written_out(rows: torch.Tensor, columns: torch.Tensor, related: torch.Tensor, temperature: float) -> float:
    """Cross-entropy of finding what belongs to each row, as sums of exponentials."""
    loss = 0.0
    for i, row in enumerate(rows):
        scores = [math.exp(float(row @ column) / temperature) for column in columns]
        mates = [j for j in range(len(columns)) if related[i, j]]
        loss -= sum(math.log(scores[j] / sum(scores)) for j in mates) / len(mates) / len(rows)
    return loss


def test_itc_agrees_with_sums_written_out_where_captions_repeat() -> None:
    image, text = unit(4, 8, 0), unit(4, 8, 1)
    related = within([0, 0, 1, 2], [0, 1, 2, 3])
    expected = (written_out(image, text, related, 0.2) + written_out(text, image, related, 0.2)) / 2
    loss = itc_loss(image, text, image, text, related, torch.tensor(0.2))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_itc_with_a_bank_agrees_with_sums_written_out() -> None:
    image, text, bank_image, bank_text = unit(3, 8, 0), unit(3, 8, 1), unit(7, 8, 2), unit(7, 8, 3)
    related = torch.eye(3, 7, dtype=torch.bool)
    related[0, 5] = related[2, 6] = related[2, 4] = True
    expected = (written_out(image, bank_text, related, 0.1) + written_out(text, bank_image, related, 0.1)) / 2
    loss = itc_loss(image, text, bank_image, bank_text, related, torch.tensor(0.1))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_hard_negatives_are_never_related_and_prefer_the_similar() -> None:
    generator = torch.Generator().manual_seed(0)
    related = within([0, 0, 1, 2, 3], [0, 1, 2, 2, 3])
    similarity = torch.full((5, 5), 50.0).masked_fill(~related, 0.0)  # related ones are by far the most similar
    similarity[4, 2] = 3.0
    drawn = torch.stack([hard_negatives(similarity, related, generator) for _ in range(300)])
    assert not related[torch.arange(5).expand(300, 5), drawn].any()
    assert (drawn[:, 4] == 2).float().mean() > 0.75  # e^3 / (e^3 + 3) = 0.87
    assert set(drawn[:, 0].tolist()) == {2, 3, 4}


def test_a_row_with_nothing_unrelated_has_no_negative() -> None:
    related = torch.tensor([[True, True], [False, True]])
    assert hard_negatives(torch.zeros(2, 2), related, torch.Generator()).tolist() == [-1, 0]


def test_nearest_negatives_are_drawn_evenly_from_the_nearest_unrelated() -> None:
    similarity = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5]])
    related = torch.tensor([[True, False, True, False, False], [False] * 5])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([nearest_negatives(similarity, related, 2, generator) for _ in range(2000)])
    for row, wanted in enumerate(({1, 3}, {4, 3})):  # the two nearest that are not related
        assert set(drawn[:, row].tolist()) == wanted
        assert (drawn[:, row] == 3).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_nearest_negatives_are_fewer_where_there_are_fewer_and_none_where_there_are_none() -> None:
    related = torch.tensor([[True, True, False], [True, True, True], [False, False, True]])
    similarity = torch.tensor([[0.9, 0.8, -0.7]] * 3)
    for nearest in (1, 2, 3, 64):  # also more than there are columns
        generator = torch.Generator().manual_seed(nearest)
        drawn = torch.stack([nearest_negatives(similarity, related, nearest, generator) for _ in range(100)])
        assert set(drawn[:, 0].tolist()) == {2} and set(drawn[:, 1].tolist()) == {-1}
        assert set(drawn[:, 2].tolist()) == ({0} if nearest == 1 else {0, 1})


@pytest.mark.parametrize("draw", ["hard", "nearest"])
def test_negatives_are_never_related_whatever_is_similar(draw: str) -> None:
    generator = torch.Generator().manual_seed(7)
    for _ in range(200):
        similarity = torch.randn(8, 8, generator=generator) * 30
        related = torch.rand(8, 8, generator=generator) < 0.7
        if draw == "hard":
            drawn = hard_negatives(similarity, related, generator)
        else:
            drawn = nearest_negatives(similarity, related, 3, generator)
        assert torch.equal(drawn == -1, related.all(1))
        rows = torch.arange(8)[drawn >= 0]
        assert not related[rows, drawn[drawn >= 0]].any()


def test_itm_agrees_with_the_logistic_loss_written_out() -> None:
    logits = torch.tensor([[0.3, 1.2], [2.0, -1.0], [0.1, 0.4]])
    related = torch.tensor([True, False, False])
    expected = sum(
        math.log1p(math.exp((-1 if related[i] else 1) * float(logits[i, 1] - logits[i, 0]))) for i in range(3)
    )
    assert itm_loss(logits, related).item() == pytest.approx(expected / 3, rel=1e-5)


def test_lm_agrees_with_sums_written_out_and_skips_padding() -> None:
    logits = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0))
    input_ids = torch.tensor([[2, 5, 6, 3], [2, 4, 3, 0]])
    attention_mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    terms = [
        -float(logits[i, j].log_softmax(-1)[input_ids[i, j + 1]]) for i in range(2) for j in range(3 if i == 0 else 2)
    ]
    assert lm_loss(logits, input_ids, attention_mask).item() == pytest.approx(sum(terms) / 5, rel=1e-5)
