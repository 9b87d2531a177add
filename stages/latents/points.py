"""The points the projections show: one per picture of a split, as pooled quantized latents of picture and caption."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from stages.codes import SplitCodes
from stages.data import PreparedSet, Record
from stages.vqvae import VQVAE

MOST_GROUPS = 12
POOL_BATCH = 128


@dataclass(frozen=True)
class LatentPoints:
    """Pooled latents of N pictures and of one caption of each."""

    top: np.ndarray
    """(N,D) mean of the top level's z_q over its grid."""
    bottom: np.ndarray
    """(N,D) mean of the bottom level's z_q over its grid."""
    text: np.ndarray
    """(N,D) mean of the caption's z_q over its codes."""
    records: list[Record]
    """The pair each point stands for: the picture's first in the split."""
    labels: np.ndarray
    """(N,) str: what the points are coloured by."""
    label_order: list[str]
    """Every label that occurs, in the order of the legend."""
    label_source: str
    """Where the labels come from, in words."""


def gather_points(
    dataset: PreparedSet, codes: SplitCodes, vqvae: VQVAE, *, max_points: int, clusters: int, seed: int
) -> LatentPoints:
    """Pooled z_q of a split's pictures and captions, at most `max_points` of them, with labels."""
    chosen = choose_rows(dataset, codes.record_rows, max_points, seed)
    records = [dataset.records[row] for row in codes.record_rows[chosen]]
    top = pool(codes.top[chosen], vqvae.embed_top)
    labels, order, source = label_points(dataset, records, top, clusters, seed)
    return LatentPoints(
        top=top,
        bottom=pool(codes.bottom[chosen], vqvae.embed_bottom),
        text=pool(codes.text[chosen], vqvae.embed_top),
        records=records,
        labels=labels,
        label_order=order,
        label_source=source,
    )


def choose_rows(dataset: PreparedSet, record_rows: np.ndarray, max_points: int, seed: int) -> np.ndarray:
    """Rows of a split's codes, int64, rising: each picture's first pair; of more than `max_points` a seeded choice."""
    pictures = np.array([dataset.records[row].image for row in record_rows])
    first = np.sort(np.unique(pictures, return_index=True)[1])
    if len(first) <= max_points:
        return first
    return np.sort(np.random.default_rng(seed).choice(first, max_points, replace=False))


@torch.no_grad()
def pool(indices: np.ndarray, embed: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Mean of z_q over all positions: codes (N,...) -> float32 (N,D); a few at a time, so memory stays flat."""
    parts = []
    for start in range(0, len(indices), POOL_BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(indices[start : start + POOL_BATCH]).astype(np.int64))
        parts.append(embed(batch).flatten(1, -2).mean(1).float().numpy())  # (B,...,D) -> (B,D)
    return np.concatenate(parts)


def label_points(
    dataset: PreparedSet, records: list[Record], top: np.ndarray, clusters: int, seed: int
) -> tuple[np.ndarray, list[str], str]:
    """Labels (N,), their order and their source: the `subject` attribute, else a few groups, else k-means clusters."""
    if all(record.attributes is not None and "subject" in record.attributes for record in records):
        labels = np.array([record.attributes["subject"] for record in records if record.attributes is not None])
        known = (dataset.attribute_values or {}).get("subject", [])
        return labels, _present(known, labels), "the true attribute 'subject'"
    groups = np.array([record.group for record in records])
    if 2 <= len(np.unique(groups)) <= min(MOST_GROUPS, len(groups) // 2):
        return groups, _present([], groups), "the records' groups"
    count = min(clusters, len(np.unique(top, axis=0)))
    found = KMeans(n_clusters=count, n_init=4, random_state=seed % 2**32).fit_predict(top)
    labels = np.array([f"cluster {number + 1}" for number in found])
    return labels, _present([], labels), "k-means clusters of the pooled top z_q (no labels in this data set)"


def _present(known: list[str], labels: np.ndarray) -> list[str]:
    """The labels that occur: the known ones in their order, then the others sorted."""
    there = set(labels.tolist())
    return [label for label in known if label in there] + sorted(there - set(known))
