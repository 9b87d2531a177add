"""All metrics of one system's pictures against the captions they are meant to show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stages.data import pictures_at_once, to_tensor
from stages.evaluation.judge import Judge, read_pictures
from stages.evaluation.labels import ABSENT
from stages.metrics import (
    Metric,
    Resampling,
    Samples,
    Thesaurus,
    attributes,
    bootstrap_interval,
    caption_scores,
    matching,
    mean_metric,
    pixels,
)
from stages.metrics.perceptual import Perceptual, lpips_distance

_AGAINST = "BLIP's greedy captions of the pictures against the prompts, one reference each"
_PAIRED = "8-bit pictures in [-1,1], each against the real picture of its prompt"
_JUDGED = "read by a judge trained on real pictures only; attributes of the prompt's own picture"
NO_ATTRIBUTES = "the data set has no true attributes"
ITSELF = "it would compare real pictures with themselves"


class CaptioningMatcher(matching.Matcher, Protocol):
    """The part of BLIP that is needed here."""

    def caption(self, image: Tensor) -> list[str]:
        """B greedy captions."""


@dataclass(frozen=True)
class Instruments:
    """What pictures are measured with, the same for every system."""

    blip: CaptioningMatcher
    judge: Judge | None
    """None for a data set without true attributes."""
    perceptual: Perceptual
    lpips_backbone: str
    thesaurus: Thesaurus
    resampling: Resampling
    batch_size: int


@dataclass(frozen=True)
class Case:
    """n pictures with what they are meant to show."""

    pictures: np.ndarray
    """(n,H,W,3) uint8."""
    captions: list[str]
    """BLIP's captions of the first m <= n pictures."""
    prompts: list[str]
    targets: np.ndarray
    """(n,H,W,3) uint8, the real picture of each prompt."""
    labels: np.ndarray
    """(n,A) int64, true attributes of the prompt; -1 where one does not apply; A = 0 without attributes."""

    def against(self, others: np.ndarray) -> "Case":
        """The same pictures against other prompts: picture i against prompt others[i]."""
        return replace(
            self,
            prompts=[self.prompts[other] for other in others],
            targets=self.targets[others],
            labels=self.labels[others],
        )


def score(case: Case, instruments: Instruments) -> dict[str, Metric]:
    """Every metric of a case by name."""
    thesaurus, resampling = instruments.thesaurus, instruments.resampling
    return {
        **attribute_scores(case.pictures, case.labels, instruments),
        **caption_scores(case.prompts[: len(case.captions)], case.captions, thesaurus, resampling, _AGAINST),
        **matching_scores(case, instruments),
        **pixel_scores(case, instruments),
    }


def attribute_scores(pictures: np.ndarray, labels: np.ndarray, instruments: Instruments) -> dict[str, Metric]:
    """`attribute_accuracy`, `attribute_worst`, `attribute_exact` and `attribute_accuracy/<name>`."""
    protocols = {
        "attribute_accuracy": f"mean over attributes of the share of pictures that show the captioned value; {_JUDGED}",
        "attribute_worst": f"share of pictures that show the captioned value, lowest attribute; {_JUDGED}",
        "attribute_exact": f"share of pictures that show every captioned value; {_JUDGED}",
    }
    if instruments.judge is None:
        return {name: Metric.unavailable(NO_ATTRIBUTES, protocol) for name, protocol in protocols.items()}
    wanted = labels != ABSENT
    shown = read_pictures(instruments.judge, pictures, instruments.batch_size) == labels
    counts = attributes.attribute_counts(shown, wanted)
    combinations = {
        "attribute_accuracy": attributes.attribute_accuracy,
        "attribute_worst": attributes.attribute_worst,
        "attribute_exact": lambda sums: attributes.attribute_exact(sums, len(pictures)),
    }
    metrics = {
        name: Metric(
            float(combine(counts.sum(axis=0, keepdims=True))[0]),
            len(pictures),
            bootstrap_interval(counts, combine, instruments.resampling),
            protocols[name],
            samples=Samples(counts, combine),
        )
        for name, combine in combinations.items()
    }
    for column, name in enumerate(instruments.judge.attributes):
        right = shown[wanted[:, column], column]
        protocol = f"share of pictures that show the captioned value of '{name}'; {_JUDGED}"
        metrics[f"attribute_accuracy/{name}"] = mean_metric(right, protocol, instruments.resampling)
    return metrics


def matching_scores(case: Case, instruments: Instruments) -> dict[str, Metric]:
    """`itm_probability` and `itc_cosine` of pictures and prompts."""
    itm, itc = [], []
    for part in _parts(len(case.pictures), instruments.batch_size):
        image, texts = to_tensor(case.pictures[part]), case.prompts[part]
        itm.append(matching.itm_probability(instruments.blip, image, texts))
        itc.append(matching.itc_cosine(instruments.blip, image, texts))
    by = "of picture and prompt by the run's own BLIP"
    return {
        "itm_probability": mean_metric(np.concatenate(itm), f"mean matching probability {by}", instruments.resampling),
        "itc_cosine": mean_metric(np.concatenate(itc), f"mean cosine of the embeddings {by}", instruments.resampling),
    }


def pixel_scores(case: Case, instruments: Instruments) -> dict[str, Metric]:
    """`mse`, `psnr_db`, `psnr_db_as_published` and `lpips`, each picture against the real one of its prompt."""
    side, backbone = case.pictures.shape[1], instruments.lpips_backbone
    protocols = {
        "mse": f"mean squared error over {_PAIRED}",
        "psnr_db": f"mean over pictures of the PSNR in dB, peak 2 (the true range); {_PAIRED}",
        "psnr_db_as_published": f"mean over pictures of the PSNR in dB, peak 1 (as published, 6.02 dB less); {_PAIRED}",
        "lpips": f"mean LPIPS v0.1 ({backbone}, ImageNet weights) at {side}x{side}; {_PAIRED}",
    }
    if np.array_equal(case.pictures, case.targets):
        return {name: Metric.unavailable(ITSELF, protocol) for name, protocol in protocols.items()}
    squared, distances = [], []
    for part in _parts(len(case.pictures), pictures_at_once(side, instruments.batch_size)):
        image, target = to_tensor(case.pictures[part]), to_tensor(case.targets[part])
        squared.append(pixels.mse(image, target))
        if instruments.perceptual.network is not None:
            distances.append(lpips_distance(instruments.perceptual.network, image, target).numpy())
    error = torch.cat(squared)
    values = {
        "mse": error,
        "psnr_db": pixels.psnr_db(error),
        "psnr_db_as_published": pixels.psnr_db(error, pixels.PUBLISHED_PEAK),
    }
    metrics = {
        name: mean_metric(value.numpy(), protocols[name], instruments.resampling) for name, value in values.items()
    }
    if instruments.perceptual.reason is not None:
        metrics["lpips"] = Metric.unavailable(instruments.perceptual.reason, protocols["lpips"])
    else:
        metrics["lpips"] = mean_metric(np.concatenate(distances), protocols["lpips"], instruments.resampling)
    return metrics


def unavailable_scores(reason: str, metric_names: Sequence[str]) -> dict[str, Metric]:
    """Every metric of a system that could not draw."""
    return {name: Metric.unavailable(reason, "as for the other systems") for name in metric_names}


def write_captions(blip: CaptioningMatcher, pictures: np.ndarray, batch_size: int) -> Iterator[list[str]]:
    """Greedy captions of pictures (n,H,W,3) uint8, a batch at a time."""
    for part in _parts(len(pictures), batch_size):
        yield blip.caption(to_tensor(pictures[part]))


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]
