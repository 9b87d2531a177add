"""What the captions of a prepared set are like: lengths, words, repetitions."""

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.data.prepared import PreparedSet

COMMON_SHOWN = 10
NEW_WORDS_SHOWN = 8
_EDGES = string.punctuation + "“”„‘’‚«»‹›…–—·¿¡、。，．！？：；「」『』（）《》"
"""What is stripped from both ends of a word."""


@dataclass(frozen=True)
class Spread:
    """Four figures of a distribution; between two observed values the median and the percentile are interpolated."""

    least: float
    median: float
    percentile_95: float
    most: float


@dataclass(frozen=True)
class SplitWords:
    """The words of one split's captions, lower-cased, and what train does not have of them."""

    running: int
    """Words, each as often as it occurs."""
    distinct: int
    new: int | None = None
    """Distinct words that no caption of train has; None for train itself or where there is no train."""
    new_running: int = 0
    """The new words, each as often as it occurs."""
    examples: tuple[str, ...] = ()
    """The most frequent new words."""
    repeated: int | None = None
    """Pairs whose caption, case and spacing aside, some pair of train has too; None as for `new`."""


@dataclass(frozen=True)
class CaptionFigures:
    """All that is counted in captions."""

    words: Spread
    """Words in a caption."""
    characters: Spread
    """Characters (code points) in a caption."""
    per_picture: Spread
    """Captions of a picture."""
    vocabulary: int
    """Distinct lower-case words in the whole set."""
    splits: dict[str, SplitWords]
    common: tuple[tuple[str, int], ...]
    """The captions that most pairs have, word for word, with their number; only those that more than one pair has."""
    distinct: int
    """Distinct captions."""


def caption_words(caption: str) -> list[str]:
    """The lower-case words of a caption: what stands between spaces, without punctuation at its ends."""
    return [word for word in (piece.strip(_EDGES) for piece in caption.lower().split()) if word]


def caption_figures(dataset: PreparedSet) -> CaptionFigures:
    """Counts the captions of a prepared set."""
    captions = [record.caption for record in dataset.records]
    lengths: list[int] = []
    words: dict[str, Counter[str]] = {name: Counter() for name in dataset.splits}
    for record in dataset.records:
        found = caption_words(record.caption)
        lengths.append(len(found))
        words[record.split].update(found)
    counts = Counter(captions)
    return CaptionFigures(
        words=_spread(lengths),
        characters=_spread([len(caption) for caption in captions]),
        per_picture=_spread(list(Counter(record.image for record in dataset.records).values())),
        vocabulary=len(set().union(*words.values())),
        splits=_split_words(dataset, words),
        common=tuple((caption, count) for caption, count in counts.most_common(COMMON_SHOWN) if count > 1),
        distinct=len(counts),
    )


def _split_words(dataset: PreparedSet, words: dict[str, Counter[str]]) -> dict[str, SplitWords]:
    seen = {_plain(record.caption) for record in dataset.records if record.split == "train"}
    found = {}
    for name, counts in words.items():
        if name == "train" or "train" not in words:
            found[name] = SplitWords(counts.total(), len(counts))
            continue
        new = Counter({word: count for word, count in counts.items() if word not in words["train"]})
        examples = tuple(word for word, _ in new.most_common(NEW_WORDS_SHOWN))
        repeated = sum(_plain(record.caption) in seen for record in dataset.records if record.split == name)
        found[name] = SplitWords(counts.total(), len(counts), len(new), new.total(), examples, repeated)
    return found


def _plain(caption: str) -> str:
    return " ".join(caption.lower().split())


def _spread(values: Sequence[int]) -> Spread:
    least, median, percentile, most = np.percentile(values, [0, 50, 95, 100]).tolist()
    return Spread(least, median, percentile, most)
