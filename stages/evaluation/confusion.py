"""What the judge sees in a system's pictures where each value of an attribute was asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.evaluation.gallery import Gallery
from stages.evaluation.judge import Judge, read_pictures
from stages.evaluation.labels import ABSENT

TABLES_OF = ("prior", "diffusion")
NOT_SEEN = "none seen"
"""Shown where the judge says that the attribute does not apply to what it sees."""


def confusion_section(
    galleries: Mapping[str, Gallery], labels: np.ndarray, judge: Judge | None, batch_size: int
) -> dict[str, Any]:
    """By system, by attribute: `{"asked": [values], "shown": [values and "none seen"], "counts": [[...]]}`.

    Args:
        labels: (n,A) int64, what was asked of each picture; -1 where an attribute was not.
    """
    if judge is None:
        return {"reason": "the data set has no true attributes"}
    tables = {}
    for name in TABLES_OF:
        if name in galleries:
            shown = read_pictures(judge, galleries[name].pictures, batch_size)
            tables[name] = {
                attribute: {
                    "asked": values,
                    "shown": [*values, NOT_SEEN],
                    "counts": count_confusions(labels[:, column], shown[:, column], len(values)).tolist(),
                }
                for column, (attribute, values) in enumerate(judge.sizes.attribute_values.items())
            }
    return tables


def count_confusions(asked: np.ndarray, shown: np.ndarray, values: int) -> np.ndarray:
    """Pictures by asked and shown value, (values, values + 1) int64; the last column is of those that show none.

    Args:
        asked, shown: (n,) int64 numbers of values; -1 for none. What was not asked for is not counted.
    """
    counts = np.zeros((values, values + 1), dtype=np.int64)
    wanted = asked != ABSENT
    np.add.at(counts, (asked[wanted], shown[wanted]), 1)  # ABSENT is -1, which is the last column
    return counts
