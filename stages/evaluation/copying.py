"""Whether pictures are copies of train pictures: how near the nearest one is, and those pairs on a sheet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch.nn import functional as F

from stages.data import PreparedSet, to_tensor
from stages.evaluation.copying_sheet import SHEET_PAIRS, Pair, copying_sheet
from stages.evaluation.gallery import Gallery, why_no_gallery
from stages.evaluation.scores import parts
from stages.metrics import Metric, Resampling, bootstrap_rows, mean_metric
from stages.metrics.nearest import Nearest, nearest_rows

FOLDER = "copying"
"""Where the sheets are published, `<system>.png`."""
SHEETS_OF = ("prior", "diffusion")
PERCENTILE = 1.0
"""Percentile of the real held-out pictures' distances below which a picture counts as a copy."""
LARGEST_SIDE = 64
"""Side, pixels, at which larger pictures are compared, each pixel the mean of those it stands for."""
_PIXELS_AT_ONCE = 6_000_000  # numbers of train pictures held at a time, 24 MB
SPACES = {
    "blip": "cosine distance of the embeddings of the run's own BLIP",
    "pixels": "root mean square difference of 8-bit pictures in [-1,1], at most 64x64 pixels",
}


@dataclass(frozen=True)
class TrainPictures:
    """The train pictures that may have been copied."""

    images: np.ndarray
    """(N,H,W,3) uint8, every picture of the set, memory-mapped."""
    features: np.ndarray
    """(N,P) float32, unit norm, memory-mapped."""
    rows: np.ndarray
    """(T,) int64, which of them are train pictures, each once."""

    def nearest(self, gallery: Gallery) -> dict[str, Nearest]:
        """The nearest train picture of each of n pictures, by space; `rows` are places in `rows` here."""
        side = self.images.shape[1]
        numbers = 3 * min(side, LARGEST_SIDE) ** 2
        at_once = max(1, _PIXELS_AT_ONCE // numbers)
        pixels = nearest_rows(_shrink(gallery.pictures), (_shrink(self.images[rows]) for rows in self._parts(at_once)))
        features = nearest_rows(
            gallery.features, (np.asarray(self.features[rows], np.float32) for rows in self._parts(8 * at_once))
        )
        return {
            "blip": features._replace(distances=features.distances**2 / 2),  # |a - b|^2 = 2 - 2 cos
            "pixels": pixels._replace(distances=pixels.distances / np.sqrt(numbers)),
        }

    def _parts(self, size: int) -> Iterator[np.ndarray]:
        return (self.rows[part] for part in parts(len(self.rows), size))


def add_copying(
    systems: dict[str, dict[str, Metric]],
    galleries: Mapping[str, Gallery],
    dataset: PreparedSet,
    image_features: np.ndarray,
    prompts: list[str],
    resampling: Resampling,
    folder: Path,
) -> dict[str, Metric]:
    """Adds `copied_blip`, `copied_pixels`, `nearest_train_blip` and `nearest_train_pixels`, and draws the sheets.

    Args:
        galleries: among them `real`, the held-out pictures that say how near is no copy.
        image_features: (N,P), unit norm, of every picture of the set.
        prompts: what the galleries' pictures were painted for.
        folder: where the sheets go, made here.

    Returns:
        The thresholds, `threshold_blip` and `threshold_pixels`.
    """
    train = TrainPictures(dataset.images, image_features, dataset.split("train").unique_images)
    found = {name: train.nearest(gallery) for name, gallery in galleries.items()}
    thresholds = copy_thresholds(found["real"], resampling)
    for name, metrics in systems.items():
        if name in found:
            metrics |= copying_scores(found[name], thresholds, len(train.rows), resampling)
        else:
            reason, protocol = why_no_gallery(metrics), "as for the other systems"
            metrics |= {each: Metric.unavailable(reason, protocol) for each in _NAMES}
    captions = {record.image: record.caption for record in reversed(dataset.split("train").records)}
    folder.mkdir()
    for name in SHEETS_OF:
        if name in found:
            pairs = {
                SPACES[space]: closest_pairs(nearest, galleries[name].pictures, prompts, train, captions)
                for space, nearest in found[name].items()
            }
            copying_sheet(pairs).save(folder / f"{name}.png")
    return {f"threshold_{space}": threshold for space, threshold in thresholds.items()}


def copy_thresholds(real: Mapping[str, Nearest], resampling: Resampling) -> dict[str, Metric]:
    """By space how near to a train picture real held-out pictures hardly ever are.

    Those that are in train themselves, as with repeats across splits, say nothing of it and are left out.
    """
    held_out = real["pixels"].distances > 0
    thresholds = {}
    for space, nearest in real.items():
        distances = nearest.distances[held_out]
        protocol = (
            f"distance that {PERCENTILE:g} % of the prompts' real pictures are nearer to their nearest train picture "
            f"than; {SPACES[space]}; {len(held_out) - len(distances)} pictures that are in train themselves left out"
        )
        if len(distances) == 0:
            thresholds[space] = Metric.unavailable("every real picture of the prompts is in train itself", protocol)
            continue
        interval = bootstrap_rows(partial(_threshold_of, distances), len(distances), resampling)
        value = _threshold_of(distances, np.arange(len(distances)))
        thresholds[space] = Metric(value, len(distances), interval, protocol)
    return thresholds


def copying_scores(
    nearest: Mapping[str, Nearest], thresholds: Mapping[str, Metric], train_pictures: int, resampling: Resampling
) -> dict[str, Metric]:
    """Share of pictures nearer to a train picture than the threshold, and mean distance to the nearest, by space."""
    metrics = {}
    for space, (_, distances) in nearest.items():
        among, threshold = f"nearest of {train_pictures} train pictures; {SPACES[space]}", thresholds[space]
        metrics[f"nearest_train_{space}"] = mean_metric(distances, f"mean distance to the {among}", resampling)
        protocol = f"share of pictures nearer to a train picture than {100 - PERCENTILE:g} % of real held-out ones are"
        metrics[f"copied_{space}"] = (
            Metric.unavailable(str(threshold.reason), protocol)
            if threshold.value is None
            else mean_metric(
                distances < threshold.value,
                f"{protocol}, that is than {threshold.value:.4g}; {among}; the interval holds that threshold fixed",
                resampling,
            )
        )
    return metrics


def closest_pairs(
    nearest: Nearest, pictures: np.ndarray, prompts: list[str], train: TrainPictures, captions: Mapping[int, str]
) -> list[Pair]:
    """The pictures that are nearest to a train picture, each beside it, the nearest first."""
    pairs = []
    for row in np.argsort(nearest.distances, kind="stable")[:SHEET_PAIRS]:
        image = int(train.rows[nearest.rows[row]])
        distance = float(nearest.distances[row])
        pairs.append(Pair(pictures[row], prompts[row], train.images[image], captions[image], distance))
    return pairs


def _threshold_of(distances: np.ndarray, rows: np.ndarray) -> float:
    return float(np.percentile(distances[rows], PERCENTILE))


def _shrink(pictures: np.ndarray) -> np.ndarray:
    """Pictures (m,H,W,3) uint8 as rows (m,D) float32 in [-1,1], of at most `LARGEST_SIDE` pixels a side."""
    image = to_tensor(pictures)
    if image.shape[-1] > LARGEST_SIDE:
        image = F.interpolate(image, size=(LARGEST_SIDE, LARGEST_SIDE), mode="area")
    rows: np.ndarray = image.flatten(1).numpy()
    return rows


_NAMES = tuple(f"{name}_{space}" for space in SPACES for name in ("nearest_train", "copied"))
