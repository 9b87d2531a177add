"""What a BLIP makes of a held-out split: scores of pairs that belong together and of pairs that do not, captions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from stages.blip.blip import Blip
from stages.blip.features import Features
from stages.blip.metrics import image_to_text_ranks, nearest_captions, text_to_image_ranks, unrelated_partners
from stages.data import PreparedSet, Split, to_tensor

Rows = NDArray[np.int64]
Scores = dict[str, np.ndarray]
"""Under `itm` the matching probability in [0,1], under `itc` the cosine of the pooled embeddings in [-1,1]."""

KINDS = ("itm", "itc")
_BATCH = 100


@dataclass(frozen=True)
class Negatives:
    """The pictures of a split's pairs, each with a caption that is not true of it."""

    rows: Rows
    """(m,) places in the split of the pairs; each at most once."""
    scores: Scores
    """(m,) each."""
    attributes: list[str] | None = None
    """The attribute in which each caption is untrue, where that is known."""


@dataclass(frozen=True)
class PairScores:
    """Scores of a split's n pairs."""

    pictures: Rows
    """(n,) equal where pairs are of the same picture."""
    related: Scores
    """(n,) each."""
    shuffled: Negatives
    """Captions of other pictures, drawn at random."""
    hard: Negatives
    """Captions that are nearly right: untrue in one attribute, or the nearest of other pictures."""
    text_to_image: Rows
    """(n,) rank, from 1, of each caption's picture among the split's pictures by cosine."""
    image_to_text: Rows
    """(p,) rank, from 1, of the best own caption of each of the p distinct pictures."""


def score_pairs(blip: Blip, features: Features, dataset: PreparedSet, split: Split, seed: int) -> PairScores:
    """Scores a split's pairs, and its pictures with captions that are not true of them.

    Args:
        features: BLIP's of this set.
        seed: of the random captions.
    """
    scorer = _Scorer(blip, features, dataset, split)
    known = any(record.contrast for record in split.records)
    images, texts = features.image_pooled[split.image_rows], features.text_pooled[split.record_rows]
    return PairScores(
        pictures=split.image_rows,
        related=scorer.with_own(),
        shuffled=scorer.with_partners(
            unrelated_partners(split.image_rows, _content(split), np.random.default_rng(seed))
        ),
        hard=scorer.with_contrasts() if known else scorer.with_partners(_nearest(split)),
        text_to_image=text_to_image_ranks(texts, images, split.image_rows),
        image_to_text=image_to_text_ranks(texts, images, split.image_rows),
    )


def _content(split: Split) -> list[str]:
    """What each caption says, as far as it is known: equal where the caption of one picture is true of another."""
    return [
        json.dumps(record.attributes, sort_keys=True) if record.attributes else record.caption.lower()
        for record in split.records
    ]


def _nearest(split: Split) -> Rows:
    """Partners whose captions share most words; none of the same group, whose pictures may show the same."""
    return nearest_captions(split.captions, [record.group for record in split.records])


class _Scorer:
    """Scores the pictures of a split with captions."""

    def __init__(self, blip: Blip, features: Features, dataset: PreparedSet, split: Split) -> None:
        self.blip, self.features, self.dataset, self.split = blip, features, dataset, split

    def with_own(self) -> Scores:
        """The split's pairs as they are."""
        every = np.arange(len(self.split))
        return self._scores(every, self.split.captions, self._pooled(every), "related")

    def with_partners(self, partners: Rows) -> Negatives:
        """Each picture with the caption of its partner; pairs whose partner is -1 are left out."""
        rows = np.flatnonzero(partners >= 0)
        captions = [self.split.captions[row] for row in partners[rows]]
        return Negatives(rows, self._scores(rows, captions, self._pooled(partners[rows]), "unrelated"))

    def with_contrasts(self) -> Negatives:
        """Each picture with its caption that is untrue in one attribute."""
        known = [(row, record.contrast) for row, record in enumerate(self.split.records) if record.contrast]
        rows, captions = np.array([row for row, _ in known]), [contrast.caption for _, contrast in known]
        scores = self._scores(rows, captions, embed_texts(self.blip, captions), "contrasting")
        return Negatives(rows, scores, [contrast.attribute for _, contrast in known])

    def _pooled(self, rows: Rows) -> np.ndarray:
        """Embeddings (m,P) of the captions of places in the split."""
        return np.asarray(self.features.text_pooled[self.split.record_rows[rows]])

    def _scores(self, rows: Rows, captions: Sequence[str], texts: np.ndarray, desc: str) -> Scores:
        """Scores of the pictures of places in the split with as many captions."""
        images = self.features.image_pooled[self.split.image_rows[rows]]
        matching = match_pairs(
            self.blip, self.dataset, self.split.image_rows[rows], captions, f"{self.split.name} {desc}"
        )
        return {"itm": matching, "itc": (images * texts).sum(1)}


def embed_texts(blip: Blip, texts: Sequence[str]) -> np.ndarray:
    """Pooled embeddings (n,P), unit norm, of texts that are no captions of the set."""
    parts = [blip.embed_text(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    return torch.cat(parts).float().cpu().numpy()


def match_pairs(blip: Blip, dataset: PreparedSet, image_rows: Rows, captions: Sequence[str], desc: str) -> np.ndarray:
    """Matching probability (n,) in [0,1] of pictures, by their rows in the set, and captions, one by one."""
    scores = [np.zeros(0, np.float32)]
    for start in _starts(len(captions), f"blip {desc} pairs"):
        image = to_tensor(dataset.images[image_rows[start : start + _BATCH]])
        scores.append(blip.match(image, captions[start : start + _BATCH]).float().cpu().numpy())
    return np.concatenate(scores)


def write_captions(blip: Blip, dataset: PreparedSet, split: Split) -> list[str]:
    """BLIP's greedy caption of the picture of each pair of a split."""
    pictures, own = np.unique(split.image_rows, return_inverse=True)
    written: list[str] = []
    for start in _starts(len(pictures), f"blip captions of {split.name}"):
        written += blip.caption(to_tensor(dataset.images[pictures[start : start + _BATCH]]))
    return [written[place] for place in own]


def _starts(count: int, desc: str) -> tqdm:
    return tqdm(range(0, count, _BATCH), desc=desc, unit="batch", leave=False, mininterval=0.5)
