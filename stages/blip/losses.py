"""The three losses of BLIP (arXiv:2201.12086, 3.2) as pure functions, and the choice of hard negatives."""

import torch
from torch import Tensor
from torch.nn import functional as F


def related_pairs(
    image_index: Tensor, caption_index: Tensor, bank_image_index: Tensor, bank_caption_index: Tensor
) -> Tensor:
    """Which pairs of a bank belong to which of a batch: the same picture, or the very same words.

    Args:
        image_index, bank_image_index: (B,), (R,) int64, equal where two pairs show the same picture.
        caption_index, bank_caption_index: (B,), (R,) int64, equal where two pairs have the same caption.

    Returns:
        (B,R) bool.
    """
    same_image = image_index[:, None] == bank_image_index[None]
    return same_image | (caption_index[:, None] == bank_caption_index[None])


def itc_loss(
    image: Tensor, text: Tensor, bank_image: Tensor, bank_text: Tensor, related: Tensor, temperature: Tensor
) -> Tensor:
    """Image-text contrastive loss, in nats: cross-entropy of finding the caption of a picture and the reverse.

    Several related captions share the target evenly, as in ALBEF and BLIP (arXiv:2107.07651, eq. 1 and 2).

    Args:
        image, text: (B,P) unit norm, embeddings of a batch.
        bank_image, bank_text: (R,P) unit norm, what they are looked up in: the batch itself, or with a queue behind it.
        related: (B,R) bool, at least one True in a row.
        temperature: () positive.
    """
    target = related.to(image.dtype)
    target = target / target.sum(1, keepdim=True)
    to_text = F.cross_entropy(image @ bank_text.T / temperature, target)
    to_image = F.cross_entropy(text @ bank_image.T / temperature, target)
    return (to_text + to_image) / 2


def hard_negatives(similarity: Tensor, related: Tensor, generator: torch.Generator) -> Tensor:
    """Draws for each row an unrelated column, the likelier the more similar it is (arXiv:2107.07651, 3.3).

    Args:
        similarity: (B,B) logits of ITC, row = what is given, column = what to choose from.
        related: (B,B) bool, pairs that are never drawn.
        generator: source of chance, on the CPU.

    Returns:
        (B,) int64 columns; -1 where a row has nothing unrelated.
    """
    # Related ones go before the softmax: beside a sure positive every negative would look equally easy.
    excluded, without = related.cpu(), related.cpu().all(1)
    logits = similarity.detach().float().cpu().masked_fill(excluded, -torch.inf)
    weights = logits.masked_fill(without[:, None], 0.0).softmax(1)
    drawn = torch.multinomial(weights, 1, generator=generator).squeeze(1)
    return drawn.masked_fill(without, -1).to(similarity.device)


def nearest_negatives(similarity: Tensor, related: Tensor, nearest: int, generator: torch.Generator) -> Tensor:
    """Draws for each row one of its most similar unrelated columns, evenly.

    Args:
        similarity: (B,Q), row = what is given, column = what to choose from.
        related: (B,Q) bool, pairs that are never drawn.
        nearest: how many columns are drawn from.
        generator: source of chance, on the CPU.

    Returns:
        (B,) int64 columns; -1 where a row has nothing unrelated.
    """
    candidates = similarity.detach().float().masked_fill(related, -torch.inf)
    order = candidates.topk(min(nearest, candidates.shape[1]), dim=1)
    usable = order.values.isfinite().sum(1).cpu()  # (B,)
    place = (torch.rand(len(usable), generator=generator) * usable).long().clamp(max=order.indices.shape[1] - 1)
    drawn = order.indices.cpu().gather(1, place[:, None]).squeeze(1)
    return drawn.masked_fill(usable == 0, -1).to(similarity.device)


def itm_loss(logits: Tensor, related: Tensor) -> Tensor:
    """Image-text matching loss, in nats: two-class cross-entropy of (M,2) logits (index 1 = related), (M,) bool."""
    return F.cross_entropy(logits, related.long())


def lm_loss(logits: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Caption loss, in nats per token: every token given those before it and the picture; padding does not count.

    Args:
        logits: (B,L,V) for the token that follows each position.
        input_ids: (B,L) int64.
        attention_mask: (B,L), 1 = token, 0 = padding.
    """
    target = input_ids[:, 1:].masked_fill(attention_mask[:, 1:] == 0, -100)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), target.flatten(), ignore_index=-100)
