"""Further fields of a prepared set's records, which no stage needs to learn from: MUSTI's language, labels, ..."""

import json
from typing import Any

from stages.data.prepared import RECORDS, PreparedSet


def read_further(dataset: PreparedSet, field: str) -> list[Any]:
    """A further field of every record, in the order of `PreparedSet.records`; None where a record has none.

    Args:
        field: `language`, `subtask1_label`, `subtask2_labels`, `text`, ...
    """
    with (dataset.directory / RECORDS).open(encoding="utf-8", errors="replace", newline="\n") as file:
        return [json.loads(line).get(field) for line in file]
