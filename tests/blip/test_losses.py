import math

import pytest
import torch
from torch.nn import functional as F
from transformers.models.blip.modeling_blip import image_text_contrastive_loss

from stages.blip.losses import hard_negatives, itc_loss, itm_loss, lm_loss, related_pairs


def unit(rows: int, width: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_related_pairs_share_picture_or_words() -> None:
    related = related_pairs(torch.tensor([0, 0, 1, 2]), torch.tensor([5, 6, 6, 7]))
    assert related.tolist() == [
        [True, True, False, False],
        [True, True, True, False],
        [False, True, True, False],
        [False, False, False, True],
    ]


def test_itc_agrees_with_transformers_where_every_caption_has_one_picture() -> None:
    image, text = unit(6, 8, 0), unit(6, 8, 1)
    temperature = torch.tensor(0.07)
    loss = itc_loss(image, text, torch.eye(6, dtype=torch.bool), temperature)
    assert loss.item() == pytest.approx(image_text_contrastive_loss(text @ image.T / temperature).item(), rel=1e-6)


def test_itc_agrees_with_sums_written_out_where_captions_repeat() -> None:
    image, text, temperature = unit(4, 8, 0), unit(4, 8, 1), 0.2
    related = related_pairs(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 2, 3]))
    expected = 0.0
    for rows, columns in ((image, text), (text, image)):
        for i in range(4):
            scores = [math.exp(float(rows[i] @ columns[j]) / temperature) for j in range(4)]
            mates = [j for j in range(4) if related[i, j]]
            expected -= sum(math.log(scores[j] / sum(scores)) for j in mates) / len(mates) / 8
    assert itc_loss(image, text, related, torch.tensor(temperature)).item() == pytest.approx(expected, rel=1e-5)


def test_hard_negatives_are_never_related_and_prefer_the_similar() -> None:
    generator = torch.Generator().manual_seed(0)
    related = related_pairs(torch.tensor([0, 0, 1, 2, 3]), torch.tensor([0, 1, 2, 2, 3]))
    similarity = torch.full((5, 5), 50.0).masked_fill(~related, 0.0)  # related ones are by far the most similar
    similarity[4, 2] = 3.0
    drawn = torch.stack([hard_negatives(similarity, related, generator) for _ in range(300)])
    assert not related[torch.arange(5).expand(300, 5), drawn].any()
    assert (drawn[:, 4] == 2).float().mean() > 0.75  # e^3 / (e^3 + 3) = 0.87
    assert set(drawn[:, 0].tolist()) == {2, 3, 4}


def test_a_row_with_nothing_unrelated_has_no_negative() -> None:
    related = torch.tensor([[True, True], [False, True]])
    assert hard_negatives(torch.zeros(2, 2), related, torch.Generator()).tolist() == [-1, 0]


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
