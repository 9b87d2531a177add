"""Whether pictures look like real ones as a set: distances of distributions, fidelity and coverage."""

from dataclasses import dataclass

import numpy as np

from stages.data import PreparedSet, pictures_at_once
from stages.evaluation.gallery import Gallery, why_no_gallery
from stages.metrics import Metric, Resampling, feature_sets, mean_metric
from stages.metrics.inception import (
    Inception,
    InceptionFeatures,
    fid,
    inception_features,
    inception_score,
    kid,
)

HELD_OUT = ("val", "test")
"""Splits that pictures may be compared with, the first that is not the prompts' own."""
_FEATURES = "embeddings of the run's own BLIP, unit norm"
_NEIGHBOURS = feature_sets.NEIGHBOURS


@dataclass(frozen=True)
class Reference:
    """Real pictures of a held-out split that no prompt is of, so that real pictures of the prompts can be compared."""

    split: str
    pictures: np.ndarray
    """(m,H,W,3) uint8."""
    features: np.ndarray
    """(m,P) float32, unit norm."""


def choose_reference(
    dataset: PreparedSet, split: str, image_features: np.ndarray, most: int, seed: int
) -> Reference | str:
    """At most `most` pictures of the other held-out split that no pair of the prompts' has, drawn by seed; in words why
    there are none.

    Args:
        split: the prompts' own.
        image_features: (N,P) of every picture of the set.
    """
    others = [name for name in HELD_OUT if name != split and name in dataset.splits]
    if not others:
        return f"the data set has no held-out split besides '{split}' to compare with"
    own = [record.image for record in dataset.records if record.split == split]
    rows = np.setdiff1d(dataset.split(others[0]).unique_images, own)
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    if len(rows) <= _NEIGHBOURS:
        return f"'{others[0]}' has only {len(rows)} pictures to compare with"
    return Reference(others[0], np.asarray(dataset.images[rows]), np.asarray(image_features[rows], dtype=np.float32))


def add_realism(
    systems: dict[str, dict[str, Metric]],
    galleries: dict[str, Gallery],
    reference: Reference | str,
    inception: Inception,
    resampling: Resampling,
) -> None:
    """Adds `frechet_blip`, `mmd_blip`, `precision_blip`, `recall_blip`, `fid`, `kid` and `inception_score`."""
    yardstick = _see(inception, reference.pictures) if isinstance(reference, Reference) else None
    for name, metrics in systems.items():
        if name not in galleries:
            protocol, reason = "as for the other systems", why_no_gallery(metrics)
            metrics |= {each: Metric.unavailable(reason, protocol) for each in _NAMES}
            continue
        gallery = galleries[name]
        metrics |= blip_realism(gallery, reference, resampling)
        metrics |= inception_realism(inception, _see(inception, gallery.pictures), reference, yardstick, resampling)


def blip_realism(gallery: Gallery, reference: Reference | str, resampling: Resampling) -> dict[str, Metric]:
    """The metrics in the picture features of the run's BLIP, which are always there."""
    n, width = gallery.features.shape
    if isinstance(reference, str) or n <= _NEIGHBOURS:
        reason = reference if isinstance(reference, str) else f"{n} pictures are too few"
        return {name: Metric.unavailable(reason, _FEATURES) for name in _BLIP_NAMES}
    own, real = gallery.features.astype(np.float64), reference.features.astype(np.float64)
    against = f"{n} pictures against {len(real)} real ones of '{reference.split}'; {_FEATURES}, {width} dimensions"
    distance = feature_sets.frechet_distance(own, real)
    fidelity = feature_sets.inside_manifold(own, real)
    coverage = feature_sets.inside_manifold(real, own)
    both = "the interval resamples both sets"
    manifold = f"balls as far as the nearest {_NEIGHBOURS} others (arXiv:1904.06991)"
    return {
        "frechet_blip": Metric(
            distance,
            n,
            feature_sets.frechet_interval(distance, own, real, resampling),
            f"Fréchet distance (not FID: other features); {against}; biased upwards, the more the fewer pictures, so "
            f"compare equal n only, real pictures being the floor; {both} and is 1.96 standard deviations wide",
        ),
        "mmd_blip": Metric(
            feature_sets.kernel_distance(own, real, gamma=1.0),
            n,
            feature_sets.kernel_interval(own, real, 1.0, resampling),
            f"squared MMD, kernel (cosine + 1)^3, without bias, 0 on average for real pictures; {against}; {both}",
        ),
        "precision_blip": mean_metric(
            fidelity,
            f"fidelity: share of the pictures in the manifold of the real ones, {manifold}; {against}; the interval "
            "resamples the pictures, the real ones' manifold held fixed",
            resampling,
        ),
        "recall_blip": mean_metric(
            coverage,
            f"coverage: share of the real pictures in the manifold of these, {manifold}; {against}; the interval "
            "resamples the real pictures, the manifold of these held fixed",
            resampling,
        ),
    }


def inception_realism(
    inception: Inception,
    own: InceptionFeatures | None,
    reference: Reference | str,
    real: InceptionFeatures | None,
    resampling: Resampling,
) -> dict[str, Metric]:
    """`fid`, `kid` and `inception_score`; not available without Inception's own weights."""
    by = "Inception v3 of the original FID (torch-fidelity), torchmetrics"
    protocols = {"fid": f"Fréchet Inception distance; {by}", "kid": f"Kernel Inception distance; {by}"}
    protocols["inception_score"] = f"Inception score, one split; {by}; ImageNet's classes, needs no real pictures"
    if own is None:
        return {name: Metric.unavailable(str(inception.reason), text) for name, text in protocols.items()}
    n, seed = len(own.pooled), resampling.seed
    metrics = {"inception_score": Metric(inception_score(own.logits, seed), n, None, protocols["inception_score"])}
    if isinstance(reference, str) or real is None or n < _FEWEST:
        reason = reference if isinstance(reference, str) else f"{n} picture is too few"
        return metrics | {name: Metric.unavailable(reason, protocols[name]) for name in ("fid", "kid")}
    against = f"{n} pictures against {len(real.pooled)} real ones of '{reference.split}'"
    distances = {"fid": fid(own.pooled, real.pooled), "kid": kid(own.pooled, real.pooled, seed)}
    bias = {"fid": f"biased upwards, strongly below {own.pooled.shape[1]} pictures", "kid": "without bias"}
    return metrics | {
        name: Metric(value, n, None, f"{protocols[name]}; {against}; {bias[name]}") for name, value in distances.items()
    }


def _see(inception: Inception, pictures: np.ndarray) -> InceptionFeatures | None:
    if inception.network is None:
        return None
    return inception_features(inception.network, pictures, pictures_at_once(_INCEPTION_SIDE))


_FEWEST = 2  # pictures that have a covariance
_INCEPTION_SIDE = 299  # pixels, what pictures are scaled to
_BLIP_NAMES = ("frechet_blip", "mmd_blip", "precision_blip", "recall_blip")
_NAMES = (*_BLIP_NAMES, "fid", "kid", "inception_score")
