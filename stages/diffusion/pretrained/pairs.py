"""What a checkpoint is tuned on: latents of the pictures, computed once and kept on disk, with captions as tokens."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from stages.data import PreparedSet, Split, pictures_at_once, to_tensor
from stages.data.prepared import allocate_array
from stages.diffusion.pretrained.pipeline import picture_side, resize
from stages.training import other_rows

log = logging.getLogger("stages.diffusion")


class TuningBatch(NamedTuple):
    """Pictures' latents with their captions."""

    mean: Tensor
    """(B,4,h,w), of the VAE's posterior, times its scaling factor."""
    deviation: Tensor
    """(B,4,h,w), alike."""
    input_ids: Tensor
    """(B,L) int64, captions padded to the text encoder's length."""
    other_ids: Tensor
    """(B,L) int64, captions of other pairs."""
    rows: Tensor
    """(B,) int64, row numbers of the pairs in their split."""


class KeptLatents:
    """The VAE's posteriors of pictures in a memory-mapped file, in half precision, far finer than the noise to come.

    Args:
        array: (N,2,4,h,w) float16: mean and deviation of x_0, scaled.
        image_rows: (N,) int64, ascending: the rows of the pictures in the prepared set.
    """

    def __init__(self, array: NDArray[np.float16], image_rows: NDArray[np.int64]) -> None:
        self.array, self.image_rows = array, image_rows

    def of(self, image_rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Means and deviations (B,4,h,w) of these pictures."""
        chosen = torch.from_numpy(self.array[np.searchsorted(self.image_rows, image_rows)]).float()
        return chosen[:, 0], chosen[:, 1]


def keep_latents(
    pipeline: StableDiffusionPipeline, dataset: PreparedSet, image_rows: NDArray[np.int64], path: Path
) -> KeptLatents:
    """Encodes these pictures (ascending) into the file at `path`, or takes it up when an earlier call has made it."""
    if not path.is_file():
        partial = path.with_name(path.name + ".partial")
        _encode(pipeline, dataset, image_rows, partial)
        os.replace(partial, path)
    return KeptLatents(np.load(path, mmap_mode="r"), image_rows)


@torch.no_grad()
def _encode(pipeline: StableDiffusionPipeline, dataset: PreparedSet, image_rows: NDArray[np.int64], path: Path) -> None:
    side, latent_side = picture_side(pipeline), int(pipeline.unet.config.sample_size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vae, scale = pipeline.vae.to(device), pipeline.vae.config.scaling_factor
    array = allocate_array(path, np.float16, (len(image_rows), 2, 4, latent_side, latent_side))
    at_once = pictures_at_once(side, 32)
    starts = range(0, len(image_rows), at_once)
    for start in tqdm(starts, desc="latents", unit="batch", leave=False, dynamic_ncols=True, mininterval=0.5):
        image = to_tensor(dataset.images[image_rows[start : start + at_once]])
        posterior = vae.encode(resize(image.to(device), side)).latent_dist
        both = torch.stack([posterior.mean, posterior.std], dim=1) * scale  # (b,2,4,h,w)
        array[start : start + at_once] = both.half().cpu().numpy()
    array.flush()
    vae.to("cpu")


class TuningPairs:
    """Batches of a split's pairs."""

    def __init__(self, pipeline: StableDiffusionPipeline, split: Split, latents: KeptLatents) -> None:
        self.image_rows, self.latents = split.image_rows, latents
        self.input_ids = caption_ids(pipeline, split.captions)  # (P,L)
        order = np.random.default_rng(0).permutation(len(split))  # so that a pair's other does not depend on batches
        self.others = np.empty_like(order)
        self.others[order] = order[other_rows(torch.from_numpy(self.image_rows[order]), self.input_ids[order]).numpy()]

    def __len__(self) -> int:
        return len(self.image_rows)

    def batch(self, rows: np.ndarray) -> TuningBatch:
        """The pairs of these row numbers of the split."""
        mean, deviation = self.latents.of(self.image_rows[rows])
        other_ids = self.input_ids[self.others[rows]]
        return TuningBatch(mean, deviation, self.input_ids[rows], other_ids, torch.from_numpy(rows))


def caption_ids(pipeline: StableDiffusionPipeline, captions: list[str]) -> Tensor:
    """Tokens (P,L) int64 as the stock pipeline makes them: padded to the text encoder's length, cut beyond it."""
    tokenizer = pipeline.tokenizer
    length = tokenizer.model_max_length
    truncated = sum(len(ids) > length for ids in tokenizer(captions, verbose=False).input_ids)
    if truncated:
        log.warning("diffusion: %d of %d captions truncated to %d tokens", truncated, len(captions), length)
    tokens = tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    ids: Tensor = tokens.input_ids
    return ids
