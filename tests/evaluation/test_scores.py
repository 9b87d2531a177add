import dataclasses

import numpy as np
import pytest
from torch import Tensor, nn

from stages.data import PreparedSet
from stages.evaluation.prompts import choose_prompts, derange
from stages.evaluation.scores import Case, Instruments, pixel_scores, score, write_captions
from stages.metrics.perceptual import Perceptual


@pytest.fixture
def real(toy: PreparedSet, instruments: Instruments) -> Case:
    """The test pictures themselves, in the order of the prompts; 60 of 80 captioned."""
    prompts = choose_prompts(toy.split("test"), 80, seed=0)
    pictures = toy.images[prompts.image_rows]
    captions = [text for batch in write_captions(instruments.blip, pictures[:60], 25) for text in batch]
    labels = prompts.labels(toy.attribute_values or {})
    return Case(pictures, captions, prompts.texts, prompts.image_rows, pictures, labels)


@pytest.fixture
def others(toy: PreparedSet) -> np.ndarray:
    found = derange(choose_prompts(toy.split("test"), 80, seed=0), seed=0)
    assert found is not None
    return found


def test_real_pictures_show_their_captions(real: Case, instruments: Instruments) -> None:
    found = score(real, instruments)
    assert found["attribute_accuracy"].value == pytest.approx(1.0, abs=0.02)
    assert found["itm_probability"].value == found["itc_cosine"].value == 1.0
    assert found["bleu1"].n == found["rougeL"].n == 60 and found["attribute_exact"].n == 80
    assert found["attribute_accuracy/count"].n == 40
    assert found["mse"].value is None and "themselves" in str(found["psnr_db"].reason)
    assert found["bleu1"].value is not None and 0.1 < found["bleu1"].value < 1


def test_shuffled_captions_score_at_chance(real: Case, others: np.ndarray, instruments: Instruments) -> None:
    own, found = score(real, instruments), score(real.against(others), instruments)
    colour, subject = found["attribute_accuracy/colour"], found["attribute_accuracy/subject"]
    assert colour.value == pytest.approx(1 / 4, abs=0.13) and subject.value == pytest.approx(1 / 2, abs=0.15)
    assert colour.ci95 is not None and colour.ci95.low <= 1 / 4 <= colour.ci95.high
    count = found["attribute_accuracy/count"].value  # half of the pictures asked for a count are bars: they show none
    assert count is not None and count < 0.45
    for name in ("attribute_accuracy", "attribute_exact", "bleu1", "rouge1", "meteor", "itm_probability", "itc_cosine"):
        assert (found[name].value or 0) < (own[name].value or 0), name
    assert found["mse"].value is not None and found["mse"].value > 0.05  # against the other prompt's real picture


def test_pictures_are_compared_with_the_real_ones_of_their_prompts(real: Case, instruments: Instruments) -> None:
    darker = dataclasses.replace(real, pictures=real.pictures // 2)
    found = score(darker, instruments)
    difference = (real.pictures.astype(float) - real.pictures // 2) / 127.5
    per_picture = (difference**2).mean(axis=(1, 2, 3))
    assert found["mse"].value == pytest.approx(per_picture.mean())
    assert found["psnr_db"].value == pytest.approx((10 * np.log10(4 / per_picture)).mean())
    published = found["psnr_db_as_published"].value or 0.0
    assert found["psnr_db"].value - published == pytest.approx(20 * np.log10(2))  # type: ignore[operator]
    assert found["lpips"].value is None and found["lpips"].reason == "no weights in this test"


class Counting(nn.Module):
    """A distance that takes down how many pictures it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        self.counts.append(len(image))
        return (image - target).abs().mean((1, 2, 3), keepdim=True)


def test_large_pictures_are_compared_a_few_at_a_time(instruments: Instruments) -> None:
    rng = np.random.default_rng(0)
    pictures, targets = rng.integers(0, 256, (2, 20, 128, 128, 3), np.uint8)
    network = Counting()
    found = pixel_scores(
        Case(pictures, [], [], np.arange(20), targets, np.zeros((20, 0), np.int64)),
        dataclasses.replace(instruments, perceptuals={"alex": Perceptual(network, None)}),  # 32 at a time
    )
    assert network.counts == [8, 8, 4]
    assert found["lpips"].value == pytest.approx(np.abs(pictures / 127.5 - targets / 127.5).mean())


def test_every_figure_has_its_interval_and_protocol(real: Case, others: np.ndarray, instruments: Instruments) -> None:
    for name, metric in score(real.against(others), instruments).items():
        assert len(metric.protocol) > 20, name
        if metric.value is not None:
            if metric.ci95 is None:
                alike = metric.samples is not None and (np.ptp(metric.samples.statistics, axis=0) == 0).all()
                assert alike or metric.value in (0, 1), name  # no sample differs from another
            else:
                assert metric.ci95.low <= metric.value <= metric.ci95.high, name


def test_without_true_attributes_there_is_a_reason(real: Case, instruments: Instruments) -> None:
    blind = dataclasses.replace(instruments, judge=None)
    found = score(dataclasses.replace(real, labels=np.zeros((80, 0), dtype=np.int64)), blind)
    assert found["attribute_accuracy"].value is None and "no true attributes" in str(found["attribute_exact"].reason)
    assert found["bleu4"].value is not None
