"""What each system drew, as sets of pictures: read again from what the stage publishes, once all have drawn."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.evaluation.scores import picture_features
from stages.metrics import Metric
from stages.metrics.matching import Matcher


@dataclass(frozen=True)
class Gallery:
    """n pictures of one system with what the run's BLIP makes of them."""

    pictures: np.ndarray
    """(n,H,W,3) uint8, memory-mapped."""
    features: np.ndarray
    """(n,P) float32, unit norm."""


def open_galleries(folder: Path, systems: Iterable[str], blip: Matcher, batch_size: int) -> dict[str, Gallery]:
    """The galleries of those of the systems that have pictures of their own in `folder`."""
    galleries = {}
    for name in systems:
        path = folder / f"{name}.npy"
        if path.is_file():
            pictures = np.load(path, mmap_mode="r", allow_pickle=False)
            galleries[name] = Gallery(pictures, picture_features(blip, pictures, batch_size))
    return galleries


def why_no_gallery(metrics: Mapping[str, Metric]) -> str:
    """Why a system has no pictures of its own, by what its metrics say."""
    reasons = (metric.reason for name, metric in metrics.items() if name == "seconds_per_picture")
    return next((reason for reason in reasons if reason), "it has no pictures of its own")
