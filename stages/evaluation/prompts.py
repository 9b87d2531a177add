"""The prompts that every system gets: captions of a held-out split, shuffled, with what they stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.data import PreparedSet, Record, Split
from stages.evaluation.labels import attribute_labels

_SWEEPS = 100


@dataclass(frozen=True)
class Prompts:
    """n captions with the real pictures they belong to."""

    split: str
    records: list[Record]
    record_rows: np.ndarray
    """(n,) int64, place of each record in the prepared set."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def texts(self) -> list[str]:
        """The captions."""
        return [record.caption for record in self.records]

    @property
    def image_rows(self) -> np.ndarray:
        """(n,) int64, row of each record's real picture."""
        return np.array([record.image for record in self.records], dtype=np.int64)

    def labels(self, attribute_values: Mapping[str, Sequence[str]]) -> np.ndarray:
        """(n,A) int64, numbers of the true values of each prompt's own picture; -1 where one does not apply."""
        return attribute_labels([record.attributes for record in self.records], attribute_values)

    def to_json(self, seed: int, others: np.ndarray | None) -> list[dict[str, Any]]:
        """For each picture what it was drawn from, and whose caption it is scored against in `prior_shuffled`."""
        return [
            {
                "index": index,
                "row": int(row),
                "prompt": record.caption,
                "seed": seed,
                "file_name": record.file_name,
                "other_index": None if others is None else int(others[index]),
            }
            for index, (row, record) in enumerate(zip(self.record_rows, self.records, strict=True))
        ]


def choose_prompts(split: Split, count: int, seed: int) -> Prompts:
    """At most `count` pairs, shuffled, of every picture one; fewer are a prefix of more.

    A second caption of a picture would count its picture twice, in every interval and as a set of pictures.
    """
    order = np.random.default_rng(seed).permutation(len(split))
    firsts = np.sort(np.unique(split.image_rows[order], return_index=True)[1])
    chosen = order[firsts[:count]]
    return Prompts(split.name, [split.records[pair] for pair in chosen], split.record_rows[chosen])


def count_seen(prompts: Prompts, dataset: PreparedSet) -> int:
    """How many prompts have a picture that is in train too, as official splits may have it."""
    train = [record.image for record in dataset.records if record.split == "train"]
    return int(np.isin(prompts.image_rows, train).sum())


def derange(prompts: Prompts, seed: int) -> np.ndarray | None:
    """A permutation (n,) int64 that gives each prompt one of another picture in other words; None if none is found."""
    _, words = np.unique([text.casefold() for text in prompts.texts], return_inverse=True)
    pictures = prompts.image_rows

    def clash(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (words[left] == words[right]) | (pictures[left] == pictures[right])

    count = len(prompts)
    rng = np.random.default_rng(seed)
    own, others = np.arange(count), rng.permutation(count)
    for _ in range(_SWEEPS):
        stuck = np.flatnonzero(clash(own, others))
        if len(stuck) == 0:
            return others
        for place in stuck:
            _swap_into_peace(int(place), others, clash, rng)
    return None


def _swap_into_peace(place: int, others: np.ndarray, clash: Any, rng: np.random.Generator) -> None:
    """Swaps the partner of `place` with one for which both sides are content; with any, if there is none."""
    own = np.arange(len(others))
    here = np.full(len(others), place)
    content = ~clash(here, others) & ~clash(own, others[here])
    choices = np.flatnonzero(content)
    with_whom = int(rng.choice(choices)) if len(choices) else int(rng.integers(len(others)))
    others[[place, with_whom]] = others[[with_whom, place]]
