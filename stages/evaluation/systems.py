"""The systems that are compared, each as something that draws pictures first..last of the prompts. All that this room
needs of the rooms that make pictures is here."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from stages.data import PreparedSet, to_tensor, to_uint8
from stages.evaluation.prompts import Prompts
from stages.workspace import Workspace

if TYPE_CHECKING:
    from stages.samples import TextToImage

Draw = Callable[[int, int], Tensor]
"""Numbers first and last + 1 of prompts -> image (B,3,H,W) in [-1,1]."""


class Painter(Protocol):
    """What `samples` and `diffusion` load; picture i depends on its prompt, `seed` and `start + i` only."""

    def __call__(self, prompts: list[str], *, seed: int, start: int) -> Tensor:
        """Image (B,3,H,W) in [-1,1]."""


@dataclass(frozen=True)
class System:
    """Something that has a picture for every prompt."""

    name: str
    open: Callable[[Prompts], Draw]
    """Loads what it needs. Raises StageError when a stage that it needs is not there."""
    is_real: bool = False
    """Whether its pictures are the data set's own."""


@dataclass(frozen=True)
class Drawn:
    """What a system drew."""

    pictures: np.ndarray
    """(n,H,W,3) uint8."""
    seconds_per_picture: float


def systems_of(workspace: Workspace, dataset: PreparedSet, seed: int) -> list[System]:
    """The systems of a run, best known first; `prior_shuffled` draws nothing and is not among them."""
    return [
        System("prior", lambda prompts: _painted(_load_prior(workspace), prompts, seed)),
        System("diffusion", lambda prompts: _painted(_load_diffusion(workspace), prompts, seed)),
        System("reconstruction", lambda prompts: _reconstructed(workspace, dataset, prompts)),
        System("real", lambda prompts: _real(dataset, prompts), is_real=True),
    ]


def draw_pictures(draw: Draw, count: int, batch_size: int, scratch: Path, desc: str) -> Drawn:
    """Pictures of `count` prompts, a file in `scratch` for each batch, so that a stopped run goes on from there."""
    scratch.mkdir(parents=True, exist_ok=True)
    pictures, seconds = [], 0.0
    with tqdm(total=count, desc=desc, unit="picture", leave=False, dynamic_ncols=True) as bar:
        for first in range(0, count, batch_size):
            last = min(first + batch_size, count)
            path = scratch / f"{first:06d}-{last:06d}.npz"
            if not path.is_file():
                _draw_batch(draw, first, last, path)
            with np.load(path, allow_pickle=False) as batch:
                pictures.append(batch["pictures"])
                seconds += float(batch["seconds"])
            bar.update(last - first)
    return Drawn(np.concatenate(pictures), seconds / count)


@torch.no_grad()
def _draw_batch(draw: Draw, first: int, last: int, path: Path) -> None:
    started = time.perf_counter()
    pictures = to_uint8(draw(first, last))
    seconds = time.perf_counter() - started
    partial = path.with_suffix(".partial")
    with partial.open("wb") as handle:
        np.savez(handle, pictures=pictures, seconds=np.float64(seconds))
    os.replace(partial, path)


def _painted(painter: Painter, prompts: Prompts, seed: int) -> Draw:
    texts = prompts.texts
    return lambda first, last: painter(texts[first:last], seed=seed, start=first)


def prior_at(workspace: Workspace, prompts: Prompts, seed: int) -> Callable[[float, float], Draw]:
    """The prior for a guidance scale and a temperature of the top level, in place of the config's.

    Raises:
        StageError: a stage that it needs is not there.
    """
    painter = _load_prior(workspace)

    def at(guidance_scale: float, temperature: float) -> Draw:
        top = replace(painter.sampling.top, guidance_scale=guidance_scale, temperature=temperature)
        return _painted(painter.with_sampling(replace(painter.sampling, top=top)), prompts, seed)

    return at


def _reconstructed(workspace: Workspace, dataset: PreparedSet, prompts: Prompts) -> Draw:
    from stages.blip import load_features
    from stages.vqvae import load_vqvae

    vqvae = load_vqvae(workspace.require("vqvae"))
    embeddings = load_features(workspace.require("blip")).image_pooled

    def draw(first: int, last: int) -> Tensor:
        rows = prompts.image_rows[first:last]
        embedding = torch.from_numpy(np.array(embeddings[rows], dtype=np.float32))
        image: Tensor = vqvae.decode(vqvae.encode(to_tensor(dataset.images[rows]), embedding))
        return image

    return draw


def _real(dataset: PreparedSet, prompts: Prompts) -> Draw:
    return lambda first, last: to_tensor(dataset.images[prompts.image_rows[first:last]])


def _load_prior(workspace: Workspace) -> "TextToImage":
    from stages.samples import load_text_to_image

    workspace.require("prior")
    return load_text_to_image(workspace)


def _load_diffusion(workspace: Workspace) -> Painter:
    workspace.require("diffusion")
    from stages.diffusion import load_diffusion

    painter: Painter = load_diffusion(workspace)
    return painter
