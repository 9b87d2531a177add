"""True attributes as numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

ABSENT = -1
"""The number of an attribute's value where the attribute does not apply."""


def attribute_labels(
    attributes: Sequence[Mapping[str, str] | None], attribute_values: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """True attributes of n pictures as numbers of values, (n,A) int64; -1 where an attribute does not apply.

    Raises:
        ValueError: a value that the attribute does not have.
    """
    labels = np.full((len(attributes), len(attribute_values)), ABSENT, dtype=np.int64)
    for row, true in enumerate(attributes):
        for column, (name, values) in enumerate(attribute_values.items()):
            if true is not None and name in true:
                labels[row, column] = values.index(true[name])
    return labels
