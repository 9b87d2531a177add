"""Whose caption a pair is given in the control that says whether captions are listened to."""

import torch
from torch import Tensor


def other_rows(*forms: Tensor) -> Tensor:
    """For each of B rows the number (B,) of the nearest before it, around the end, that is another in every form.

    A picture with several captions has several rows, and two pictures may have the same caption: neither is another
    pair. Where there is none, it is the row before.

    Args:
        forms: (B,...) each, such as the pictures' codes and the captions' embeddings; rows are told apart by them.
    """
    count = len(forms[0])
    own = torch.arange(count, device=forms[0].device)
    others = before = (own - 1) % count
    for back in range(2, count + 1):
        same = [(form == form[others]).reshape(count, -1).all(dim=1) for form in forms]
        clash = torch.stack(same).any(dim=0)
        if not clash.any():
            break
        others = torch.where(clash, (own - back) % count, others)
    return torch.where(others == own, before, others)
