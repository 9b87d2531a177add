"""A small real BLIP, a tokenizer trained on a few captions, and prepared sets of flat coloured pictures."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from transformers import BertTokenizerFast

from stages.blip.blip import Blip
from stages.blip.features import Features, extract_features, load_features, weights_digest
from stages.blip.network import BlipNetwork, build_network
from stages.blip.pretrained import save_network
from stages.blip.tokenizer import train_tokenizer
from stages.config.blip import BlipConfig
from stages.data import PreparedSet, Record
from stages.data.prepared import Contrast

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "yellow": (220, 210, 50)}
PLACES = ("left", "right", "top", "bottom")
VALUES = {"patch": [*COLOURS], "ground": [*COLOURS], "place": [*PLACES]}


@pytest.fixture(scope="session")
def captions() -> list[str]:
    """Captions of different lengths: one colour on another."""
    return [
        f"a {one} patch on {other}" + (", in the style of an old master" if place == "top" else f", {place}")
        for one in COLOURS
        for other in COLOURS
        for place in PLACES
        if one != other
    ]


@pytest.fixture
def config() -> BlipConfig:
    """Sizes of a BLIP that trains in seconds."""
    return BlipConfig(
        vision_width=32,
        vision_layers=2,
        vision_heads=2,
        text_width=32,
        text_layers=2,
        text_heads=2,
        embedding_width=16,
        vocab_size=400,
        max_tokens=16,
        queue_size=0,
        lm_weight=2.0,
        max_steps=4,
        batch_size=8,
        val_every=2,
    )


@pytest.fixture
def tokenizer(captions: list[str], config: BlipConfig) -> BertTokenizerFast:
    return train_tokenizer(captions, config.vocab_size, config.max_tokens)


@pytest.fixture
def network(config: BlipConfig, tokenizer: BertTokenizerFast) -> BlipNetwork:
    return build_network(config, tokenizer, image_size=16, seed=1).eval()


@pytest.fixture
def blip(network: BlipNetwork, tokenizer: BertTokenizerFast, config: BlipConfig) -> Blip:
    return Blip(network, tokenizer, config.max_tokens)


@pytest.fixture
def checkpoint(network: BlipNetwork, tokenizer: BertTokenizerFast, tmp_path: Path) -> Path:
    """The small BLIP in Hugging Face layout: `retrieval` and `captioner`, each a checkpoint."""
    save_network(network, tokenizer, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def features(blip: Blip, dataset: PreparedSet, checkpoint: Path) -> Features:
    """What the small BLIP makes of the set (of either: they differ in what is known of their captions alone)."""
    extract_features(blip, dataset, checkpoint / "features", weights_digest(checkpoint))
    return load_features(checkpoint)


@pytest.fixture(scope="session")
def dataset(captions: list[str]) -> PreparedSet:
    """40 flat pictures of 16 x 16, one colour on another, with their captions; two captions show the first picture."""
    rng = np.random.default_rng(0)
    chosen = [captions[i] for i in rng.permutation(len(captions))[:40]]
    images = np.stack([_paint(caption, rng) for caption in chosen])
    places = ["train"] * 28 + ["val"] * 6 + ["test"] * 6
    records = [
        Record(i, i, caption, f"{i}.png", split, str(i), None)
        for i, (caption, split) in enumerate(zip(chosen, places, strict=True))
    ]
    records.append(Record(40, 0, "the first of them", "0.png", "train", "0", None))
    return PreparedSet(Path("."), images, records, 16, None)


@pytest.fixture(scope="session")
def described(dataset: PreparedSet) -> PreparedSet:
    """The same set where it is known what captions say: attributes, and in val and test a caption with one wrong."""
    records = [_describe(record) if record.id < 40 else record for record in dataset.records]
    return dataclasses.replace(dataset, records=records, attribute_values=VALUES)


def _describe(record: Record) -> Record:
    words = record.caption.replace(",", "").split()
    attributes = {"patch": words[1], "ground": words[4], "place": words[5] if words[5] in PLACES else "top"}
    contrast = None
    if record.split != "train":
        attribute, wrong = ("patch", "grey") if record.id % 2 else ("ground", "grey")
        contrast = Contrast(record.caption.replace(attributes[attribute], wrong), attribute)
    return dataclasses.replace(record, attributes=attributes, contrast=contrast)


def _paint(caption: str, rng: np.random.Generator) -> np.ndarray:
    words = caption.replace(",", "").split()
    picture = np.full((16, 16, 3), COLOURS[words[4]]) + rng.integers(-9, 9, (16, 16, 3))
    down, across = {"left": (16, slice(6)), "right": (16, slice(10, 16))}.get(words[5], (6, slice(16)))
    picture[:down, across] = COLOURS[words[1]]
    picture = picture[::-1] if words[5] == "bottom" else picture
    return picture.astype(np.uint8)
