"""Records of a store that lie nowhere: made when they are asked for, so that there can be any number of them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from stages.codes import CodeStore, Rows, Schema


class MadeRows(Rows):
    """As many records as wanted.

    Args:
        make: row numbers (b,) -> top (b,h,w), bottom (b,2h,2w) and text codes (b,n).
    """

    def __init__(
        self, count: int, codebook_size: int, make: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> None:
        self.make = make
        top, bottom, text = make(np.zeros(1, dtype=np.int64))
        schema = Schema(top.shape[1], bottom.shape[1], text.shape[1], codebook_size, "", "", {"test": count})
        super().__init__(CodeStore(Path(), schema), "test", [])

    def take(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        rows = np.zeros(len(numbers), dtype=self.store.schema.row)
        rows["record_row"] = numbers
        rows["top"], rows["bottom"], rows["text"] = self.make(np.asarray(numbers))
        return rows
