"""All metrics of one system's pictures against the captions they are meant to show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stages.data import Split, pictures_at_once, to_tensor
from stages.evaluation.judge import Judge, read_pictures
from stages.evaluation.labels import ABSENT
from stages.metrics import (
    Metric,
    Resampling,
    Samples,
    Thesaurus,
    attributes,
    caption_scores,
    combined_metric,
    matching,
    mean_metric,
    pixels,
)
from stages.metrics.perceptual import Perceptual, lpips_distance
from stages.metrics.retrieval import CANDIDATES, r_precision

CAPTIONED = "BLIP's greedy captions of the pictures against the prompts, one reference each"
_PAIRED = "8-bit pictures in [-1,1], each against the real picture of its prompt"
_JUDGED = "read by a judge trained on real pictures only; attributes of the prompt's own picture"
NO_ATTRIBUTES = "the data set has no true attributes"
SCENE = "subject"
"""The attribute that says which scene of `scenes` a picture shows."""
LPIPS_NAMES = {"alex": "lpips", "vgg": "lpips_vgg"}
ITSELF = "it would compare real pictures with themselves"


class CaptioningMatcher(matching.Matcher, Protocol):
    """The part of BLIP that is needed here."""

    def caption(self, image: Tensor) -> list[str]:
        """B greedy captions."""


@dataclass(frozen=True)
class CaptionPool:
    """The different captions of a split, among which a picture's own is to be found."""

    split: str
    captions: list[str]
    """m of them, no two the same but for case."""
    of_picture: dict[int, list[int]]
    """By a picture's row in the set, which of them are its captions."""
    embeddings: np.ndarray
    """(m,P), unit norm."""

    def rows(self, captions: Sequence[str]) -> np.ndarray:
        """The place (n,) int64 of each of n captions of the split."""
        places = {caption.casefold(): place for place, caption in enumerate(self.captions)}
        return np.array([places[caption.casefold()] for caption in captions], dtype=np.int64)

    def untrue_of(self, pictures: np.ndarray) -> list[np.ndarray]:
        """For each of n pictures, by their rows in the set, which of the captions are of other pictures alone."""
        return [np.delete(np.arange(len(self.captions)), self.of_picture[picture]) for picture in pictures.tolist()]


@dataclass(frozen=True)
class Instruments:
    """What pictures are measured with, the same for every system."""

    blip: CaptioningMatcher
    judge: Judge | None
    """None for a data set without true attributes."""
    perceptuals: dict[str, Perceptual]
    """LPIPS by backbone, `alex` or `vgg`."""
    pool: CaptionPool
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
    image_rows: np.ndarray
    """(n,) int64, row of each prompt's real picture in the set."""
    targets: np.ndarray
    """(n,H,W,3) uint8, these pictures."""
    labels: np.ndarray
    """(n,A) int64, true attributes of the prompt; -1 where one does not apply; A = 0 without attributes."""

    def against(self, others: np.ndarray) -> "Case":
        """The same pictures against other prompts: picture i against prompt others[i]."""
        return replace(
            self,
            prompts=[self.prompts[other] for other in others],
            image_rows=self.image_rows[others],
            targets=self.targets[others],
            labels=self.labels[others],
        )


def score(case: Case, instruments: Instruments) -> dict[str, Metric]:
    """Every metric of a case by name."""
    thesaurus, resampling = instruments.thesaurus, instruments.resampling
    return {
        **attribute_scores(case.pictures, case.labels, instruments),
        **caption_scores(case.prompts[: len(case.captions)], case.captions, thesaurus, resampling, CAPTIONED),
        **matching_scores(case, instruments),
        **retrieval_scores(case, instruments),
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
    }
    metrics = {
        name: combined_metric(Samples(counts, combine), protocols[name], instruments.resampling)
        for name, combine in combinations.items()
    }
    exact = attributes.attribute_exact(shown, wanted)
    metrics["attribute_exact"] = mean_metric(exact, protocols["attribute_exact"], instruments.resampling)
    for column, name in enumerate(instruments.judge.attributes):
        right = shown[wanted[:, column], column]
        protocol = f"share of pictures that show the attribute's captioned value; {_JUDGED}"
        metrics[f"attribute_accuracy/{name}"] = mean_metric(right, protocol, instruments.resampling)
    return metrics | _scene_scores(counts, labels, instruments.judge, instruments.resampling)


def _scene_scores(counts: np.ndarray, labels: np.ndarray, judge: Judge, resampling: Resampling) -> dict[str, Metric]:
    """`attribute_accuracy_scene/<scene>` of the attribute counts (n,2A) of n pictures."""
    if SCENE not in judge.attributes:
        return {}
    asked = labels[:, judge.attributes.index(SCENE)]
    metrics = {}
    for number, scene in enumerate(judge.sizes.attribute_values[SCENE]):
        own = counts[asked == number]
        name, shown = f"attribute_accuracy_scene/{scene}", "the share of pictures that show the captioned value"
        protocol = f"mean over attributes of {shown}, prompts of the scene only; {_JUDGED}"
        if len(own) == 0:
            metrics[name] = Metric.unavailable("no prompt asks for this scene", protocol)
            continue
        metrics[name] = combined_metric(Samples(own, attributes.attribute_accuracy), protocol, resampling)
    return metrics


def matching_scores(case: Case, instruments: Instruments) -> dict[str, Metric]:
    """`itm_probability` and `itc_cosine` of pictures and prompts."""
    itm = matching_probabilities(case.pictures, case.prompts, instruments)
    itc = np.concatenate(
        [
            matching.itc_cosine(instruments.blip, to_tensor(case.pictures[part]), case.prompts[part])
            for part in parts(len(case.pictures), instruments.batch_size)
        ]
    )
    by = "of picture and prompt by the run's own BLIP"
    return {
        "itm_probability": mean_metric(itm, f"mean matching probability {by}", instruments.resampling),
        "itc_cosine": mean_metric(itc, f"mean cosine of the embeddings {by}", instruments.resampling),
    }


def matching_probabilities(pictures: np.ndarray, captions: list[str], instruments: Instruments) -> np.ndarray:
    """BLIP's matching probabilities (n,) in [0,1] of pictures (n,H,W,3) uint8 and captions."""
    return np.concatenate(
        [
            matching.itm_probability(instruments.blip, to_tensor(pictures[part]), captions[part])
            for part in parts(len(pictures), instruments.batch_size)
        ]
    )


def retrieval_scores(case: Case, instruments: Instruments) -> dict[str, Metric]:
    """`r_precision`: each picture's prompt among other captions of its split."""
    pool, seed = instruments.pool, instruments.resampling.seed
    protocol = (
        "share of pictures whose prompt has the highest cosine (ITC of the run's own BLIP) among it and "
        f"{CANDIDATES - 1} captions of other pictures of '{pool.split}' in other words, drawn with seed {seed}; by lot "
        f"between captions that are read alike; {1 / CANDIDATES:.0%} by chance"
    )
    untrue = pool.untrue_of(case.image_rows)
    fewest = min(map(len, untrue)) + 1
    if fewest < CANDIDATES:
        reason = f"'{pool.split}' has {fewest} different captions to choose from, {CANDIDATES} are needed"
        return {"r_precision": Metric.unavailable(reason, protocol)}
    images = picture_features(instruments.blip, case.pictures, instruments.batch_size)
    found = r_precision(images, pool.embeddings, pool.rows(case.prompts), untrue, seed)
    answers = found.astype(bool) if np.isin(found, (0, 1)).all() else found  # none was by lot
    return {"r_precision": mean_metric(answers, protocol, instruments.resampling)}


def picture_features(blip: matching.Matcher, pictures: np.ndarray, batch_size: int) -> np.ndarray:
    """BLIP's embeddings (n,P) float32, unit norm, of pictures (n,H,W,3) uint8."""
    batches = (to_tensor(pictures[part]) for part in parts(len(pictures), batch_size))
    return np.concatenate([blip.encode_images(image).float().cpu().numpy() for image in batches])


def pool_captions(blip: matching.Matcher, split: Split, batch_size: int) -> CaptionPool:
    """The different ones of a split's captions, those that differ in case alone being one, with their embeddings."""
    different = {caption.casefold(): caption for caption in split.captions}
    places = {key: place for place, key in enumerate(different)}
    of_picture: dict[int, list[int]] = {}
    for caption, picture in zip(split.captions, split.image_rows.tolist(), strict=True):
        of_picture.setdefault(picture, []).append(places[caption.casefold()])
    captions = list(different.values())
    batches = (captions[part] for part in parts(len(captions), batch_size))
    embeddings = np.concatenate([blip.embed_text(batch).float().cpu().numpy() for batch in batches])
    return CaptionPool(split.name, captions, of_picture, embeddings)


def pixel_scores(case: Case, instruments: Instruments) -> dict[str, Metric]:
    """`mse`, `psnr_db`, `psnr_db_as_published`, `ssim`, `lpips` and `lpips_vgg`, each against the real picture."""
    side = case.pictures.shape[1]
    protocols = {
        "mse": f"mean squared error over {_PAIRED}",
        "psnr_db": f"mean over pictures of the PSNR in dB, peak 2 (the true range); {_PAIRED}",
        "psnr_db_as_published": f"mean over pictures of the PSNR in dB, peak 1 (as published, 6.02 dB less); {_PAIRED}",
        "ssim": f"mean SSIM (torchmetrics, Gaussian window 11, sigma 1.5, range 2, RGB) at {side}x{side}; {_PAIRED}",
    } | {
        LPIPS_NAMES[backbone]: f"mean LPIPS v0.1 ({backbone}, ImageNet weights) at {side}x{side}; {_PAIRED}"
        for backbone in instruments.perceptuals
    }
    if np.array_equal(case.pictures, case.targets):
        return {name: Metric.unavailable(ITSELF, protocol) for name, protocol in protocols.items()}
    values: dict[str, list[Tensor]] = {}
    for part in parts(len(case.pictures), pictures_at_once(side, instruments.batch_size)):
        image, target = to_tensor(case.pictures[part]), to_tensor(case.targets[part])
        for name, found in _differences(image, target, instruments.perceptuals).items():
            values.setdefault(name, []).append(found)
    reasons = {LPIPS_NAMES[backbone]: found.reason for backbone, found in instruments.perceptuals.items()}
    return {
        name: mean_metric(torch.cat(values[name]).numpy(), protocol, instruments.resampling)
        if name in values
        else Metric.unavailable(str(reasons[name]), protocol)
        for name, protocol in protocols.items()
    }


def _differences(image: Tensor, target: Tensor, perceptuals: dict[str, Perceptual]) -> dict[str, Tensor]:
    """Every difference (B,) of an image (B,3,H,W) in [-1,1] from its target that there is an instrument for."""
    error = pixels.mse(image, target)
    return {
        "mse": error,
        "psnr_db": pixels.psnr_db(error),
        "psnr_db_as_published": pixels.psnr_db(error, pixels.PUBLISHED_PEAK),
        "ssim": pixels.ssim(image, target),
    } | {
        LPIPS_NAMES[backbone]: lpips_distance(found.network, image, target)
        for backbone, found in perceptuals.items()
        if found.network is not None
    }


def unavailable_scores(reason: str, metric_names: Sequence[str]) -> dict[str, Metric]:
    """Every metric of a system that could not draw."""
    return {name: Metric.unavailable(reason, "as for the other systems") for name in metric_names}


def write_captions(blip: CaptioningMatcher, pictures: np.ndarray, batch_size: int) -> Iterator[list[str]]:
    """Greedy captions of pictures (n,H,W,3) uint8, a batch at a time."""
    for part in parts(len(pictures), batch_size):
        yield blip.caption(to_tensor(pictures[part]))


def parts(count: int, size: int) -> list[slice]:
    """`count` rows, `size` of them at a time."""
    return [slice(start, start + size) for start in range(0, count, size)]
