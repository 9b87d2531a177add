"""Extracting BLIP's features of a set into files against nothing but the encoders' forward passes over it."""

import dataclasses
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.timing import compare
from stages.blip.blip import Blip
from stages.blip.features import BATCH, extract_features
from stages.blip.network import build_network
from stages.blip.tokenizer import encode_captions, train_tokenizer
from stages.config.blip import BlipConfig
from stages.config.data import ScenesConfig
from stages.data import PreparedSet, load_dataset, to_tensor
from stages.data.prepared import PreparedWriter
from stages.data.scenes import ScenesSource

PICTURES = 3000
SIZES = {"demo": BlipConfig(), "scenes": BlipConfig(vision_width=128, text_width=128)}


def cases() -> Iterator[dict[str, Any]]:
    """3,000 drawn pictures of 64 px with a caption each, by the networks of `demo.yaml` and `scenes.yaml`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = _draw(folder)
        captions = dataset.split("train").captions
        for run, config in SIZES.items():
            tokenizer = train_tokenizer(captions, config.vocab_size, config.max_tokens)
            blip = Blip(build_network(config, tokenizer, dataset.image_size, seed=0), tokenizer, config.max_tokens)
            encoded = encode_captions(tokenizer, captions, config.max_tokens)
            order = np.argsort(encoded.attention_mask.sum(1).numpy(), kind="stable")
            image = to_tensor(dataset.images)
            yield compare(
                {"network": run, "pictures": PICTURES, "captions": PICTURES},
                partial(extract_features, blip, dataset, folder / "features", "benchmark"),
                partial(_encode, blip, image, encoded, order),
                repeats=5,
            )


def _draw(folder: Path) -> PreparedSet:
    config = dataclasses.replace(ScenesConfig(), train=PICTURES, val=6, test=6, compositions=6)
    writer = PreparedWriter(folder, 64)
    ScenesSource(config, seed=0).write(writer)
    return load_dataset(folder)


@torch.no_grad()
def _encode(blip: Blip, image: torch.Tensor, encoded: Any, order: np.ndarray) -> None:
    """The encoders alone: pictures and captions are tensors already, in the same batches, and results are dropped."""
    for start in range(0, len(image), BATCH):
        blip.network.encode_images(image[start : start + BATCH])
    lengths = encoded.attention_mask.sum(1)
    for start in range(0, len(order), BATCH):
        rows = torch.from_numpy(order[start : start + BATCH])
        longest = int(lengths[rows].max())
        blip.network.encode_text(encoded.input_ids[rows, :longest], encoded.attention_mask[rows, :longest])
