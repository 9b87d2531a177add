"""Controls that hand out train pictures, copied pixel by pixel and painted through nothing, or their mean."""

import numpy as np

from stages.data import PreparedSet, pictures_at_once
from stages.evaluation.drawing import Draw
from stages.evaluation.prompts import Prompts
from stages.workspace import Workspace

TRAIN = "train"
_DIGITS = 6  # equal captions that BLIP read in other batches differ further behind the point
_AT_ONCE = 4096  # captions


def copy_nearest(workspace: Workspace, dataset: PreparedSet, prompts: Prompts) -> Draw:
    """For each prompt the picture of the train caption nearest to it among the run's own features.

    Raises:
        StageError: there are no features.
    """
    from stages.blip import load_features

    embeddings = load_features(workspace.require("blip")).text_pooled
    train = dataset.split(TRAIN)
    nearest = nearest_captions(embeddings[prompts.record_rows], embeddings[train.record_rows])
    return _copied(dataset, train.image_rows[nearest])


def copy_at_random(dataset: PreparedSet, prompts: Prompts, seed: int) -> Draw:
    """For each prompt a train picture drawn with replacement; fewer prompts get the first of the same pictures."""
    rows = dataset.split(TRAIN).unique_images
    return _copied(dataset, rows[np.random.default_rng(seed).integers(len(rows), size=len(prompts))])


def show_mean(dataset: PreparedSet) -> Draw:
    """The mean of all train pictures for every prompt."""
    mean = mean_picture(dataset.images, dataset.split(TRAIN).unique_images)
    return lambda first, last: np.repeat(mean[None], last - first, axis=0)


def nearest_captions(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of the known embeddings (R,P) is nearest to each wanted one (n,P): (n,) int64; of ties the lowest.

    All have unit norm, so that the product is the cosine.
    """
    highest, rows = np.full(len(wanted), -np.inf), np.zeros(len(wanted), dtype=np.int64)
    for first in range(0, len(known), _AT_ONCE):
        cosine = (wanted @ known[first : first + _AT_ONCE].T).round(_DIGITS)  # (n,<=_AT_ONCE)
        found = cosine.max(axis=1)
        rows = np.where(found > highest, first + cosine.argmax(axis=1), rows)
        highest = np.maximum(found, highest)
    return rows


def mean_picture(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean (H,W,3) uint8 of the pictures of these rows of images (N,H,W,3) uint8, of which few are read at a time."""
    total = np.zeros(images.shape[1:])
    size = pictures_at_once(images.shape[1])
    for start in range(0, len(rows), size):
        total += images[rows[start : start + size]].sum(axis=0, dtype=np.int64)
    return np.rint(total / len(rows)).astype(np.uint8)


def _copied(dataset: PreparedSet, rows: np.ndarray) -> Draw:
    return lambda first, last: np.asarray(dataset.images[rows[first:last]])
