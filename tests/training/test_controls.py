"""Another pair is one of another picture in other words, wherever there is one."""

import pytest
import torch

from stages.training import other_rows


@pytest.mark.parametrize(
    ("pictures", "words", "others"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], [3, 0, 1, 2]),
        ([1, 1, 1, 2, 2, 3], [1, 2, 3, 4, 5, 6], [5, 5, 5, 2, 2, 4]),
        ([1, 2, 3, 4], [1, 1, 2, 2], [3, 3, 1, 1]),
        ([1, 1, 2], [1, 2, 2], [2, 0, 0]),  # of the second pair there is no other: the one before
        ([1, 1], [1, 2], [1, 0]),
        ([1], [1], [0]),
    ],
)
def test_the_nearest_before_it_that_is_another_in_all(pictures: list[int], words: list[int], others: list[int]) -> None:
    grids = torch.tensor(pictures)[:, None, None].expand(-1, 2, 2)
    assert other_rows(grids, torch.tensor(words)).tolist() == others
