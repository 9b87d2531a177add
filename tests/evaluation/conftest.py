"""A toy set of coloured squares with true attributes, a judge that has learned it, a captioner that sees colours."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.config import RunConfig
from stages.config.evaluation import EvaluationConfig
from stages.data import PreparedSet, Record
from stages.evaluation.judge import Judge
from stages.evaluation.judging import train_judge
from stages.evaluation.scores import Instruments, pool_captions
from stages.metrics import Resampling, find_thesaurus
from stages.metrics.perceptual import Perceptual

SIDE = 16
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220), "yellow": (230, 220, 40)}
VALUES = {"subject": ["square", "bar"], "colour": list(COLOURS), "count": ["one", "two"]}
COUNTS = {"train": 320, "test": 80}


def _paint(subject: str, colour: str, count: str | None, rng: np.random.Generator) -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), 90 + int(rng.integers(20)), dtype=np.uint8)
    top = int(rng.integers(1, 4))
    if subject == "bar":
        picture[top + 4 : top + 8] = COLOURS[colour]
    else:
        for left in (2, 9)[: VALUES["count"].index(count or "one") + 1]:
            picture[top : top + 5, left : left + 5] = COLOURS[colour]
    return picture


@pytest.fixture(scope="session")
def toy() -> PreparedSet:
    """Squares (counted) and bars (not counted) of four colours on grey, 16 px; the caption says it all."""
    rng = np.random.default_rng(0)
    pictures: list[np.ndarray] = []
    records: list[Record] = []
    for split, size in COUNTS.items():
        for number in range(size):
            subject, colour = VALUES["subject"][number % 2], VALUES["colour"][number // 2 % 4]
            count = VALUES["count"][number // 8 % 2] if subject == "square" else None
            attributes = {"subject": subject, "colour": colour} | ({"count": count} if count else {})
            caption = f"{count or 'a'} {colour} {subject} on grey, number {number}"
            records.append(Record(len(records), len(pictures), caption, f"{split}{number}", split, split, attributes))
            pictures.append(_paint(subject, colour, count, rng))
    return PreparedSet(Path("toy"), np.stack(pictures), records, SIDE, VALUES)


@pytest.fixture(scope="session")
def toy_config() -> RunConfig:
    """A judge that learns the toy set in seconds."""
    section = EvaluationConfig(
        judge_width=8, judge_examples=0, judge_steps=120, judge_batch_size=32, judge_lr=0.01, bootstrap_repeats=200
    )
    return dataclasses.replace(RunConfig(run="toy"), evaluation=section)


@pytest.fixture(scope="session")
def judge(toy: PreparedSet, toy_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """A judge fitted to the toy set's train pictures."""
    trained = train_judge(toy, toy_config, tmp_path_factory.mktemp("judge"))
    assert trained is not None
    return trained


class ColourReader:
    """What BLIP is asked for, by looking at colours: a picture's colour is the one that most pixels are nearest to."""

    def encode_images(self, image: Tensor) -> Tensor:
        """One-hot colour (B,4)."""
        colours = torch.tensor(list(COLOURS.values())).float() / 127.5 - 1  # (4,3)
        distance = (image[:, None] - colours[None, :, :, None, None]).abs().sum(2)  # (B,4,H,W)
        return F.one_hot((distance < 0.3).sum(dim=(2, 3)).argmax(1), 4).float()

    def embed_text(self, captions: list[str]) -> Tensor:
        """One-hot colour word (B,4)."""
        return torch.stack([torch.tensor([float(colour in text.split()) for colour in COLOURS]) for text in captions])

    def match(self, image: Tensor, captions: list[str]) -> Tensor:
        """1 where the colours are the same, else 0."""
        return (self.encode_images(image) * self.embed_text(captions)).sum(1)

    def caption(self, image: Tensor) -> list[str]:
        """ "<colour> on grey"."""
        return [f"{list(COLOURS)[row]} on grey" for row in self.encode_images(image).argmax(1)]


@pytest.fixture
def instruments(toy: PreparedSet, judge: Judge) -> Instruments:
    """Everything that measures, with few resamples and without LPIPS."""
    return Instruments(
        blip=ColourReader(),
        judge=judge,
        perceptuals={"alex": Perceptual(None, "no weights in this test")},
        pool=pool_captions(ColourReader(), toy.split("test"), 32),
        thesaurus=find_thesaurus(),
        resampling=Resampling(200, 0),
        batch_size=32,
    )
