"""Pictures as sets: realism, copies, diversity, confusions, on the toy set of coloured squares."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.config.evaluation import EvaluationConfig
from stages.data import PreparedSet, Record, Split, to_tensor, to_uint8
from stages.errors import StageError
from stages.evaluation.confusion import confusion_section, count_confusions
from stages.evaluation.copying import add_copying, copy_thresholds
from stages.evaluation.copying_sheet import CELL
from stages.evaluation.diversity import add_diversity
from stages.evaluation.drawing import Draw
from stages.evaluation.gallery import Gallery, open_galleries
from stages.evaluation.judge import Judge
from stages.evaluation.prompts import Prompts, choose_prompts
from stages.evaluation.realism import Reference, add_realism, choose_reference
from stages.evaluation.scores import Instruments, attribute_scores, pool_captions, retrieval_scores
from stages.evaluation.systems import System
from stages.metrics import Metric, Resampling
from stages.metrics.inception import Inception
from stages.metrics.nearest import Nearest

FEW = Resampling(200, 0)


def mean_colours(pictures: np.ndarray) -> np.ndarray:
    """(n,12) unit norm: mean colours of the picture's quarters."""
    side = pictures.shape[1] // 2
    quarters = [pictures[:, a : a + side, b : b + side].mean(axis=(1, 2)) for a in (0, side) for b in (0, side)]
    rows = np.concatenate(quarters, axis=1) - 100
    found: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def gallery(pictures: np.ndarray) -> Gallery:
    return Gallery(pictures, mean_colours(pictures))


def unavailable(reason: str) -> dict[str, Metric]:
    return {"seconds_per_picture": Metric.unavailable(reason, "")}


@pytest.fixture(scope="module")
def split(toy: PreparedSet) -> tuple[np.ndarray, Reference]:
    """60 pictures of the toy set's train, and 60 others as the reference."""
    own, real = toy.images[:60], toy.images[60:120]
    return own, Reference("val", real, mean_colours(real))


class Colours(nn.Module):
    """In Inception's place: mean colours, and twice those as logits."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        pooled = image.float().mean(dim=(2, 3)) / 255
        return pooled, 2 * pooled


def test_noise_is_further_from_real_pictures_than_real_ones(split: tuple[np.ndarray, Reference]) -> None:
    own, reference = split
    noise = np.random.default_rng(0).integers(0, 256, own.shape, dtype=np.uint8)
    galleries = {"real": gallery(own), "noise": gallery(noise), "one": gallery(np.repeat(own[:1], 60, axis=0))}
    systems: dict[str, dict[str, Metric]] = {name: {} for name in galleries} | {"gone": unavailable("not trained")}
    add_realism(systems, galleries, reference, Inception(Colours(), None), FEW)
    value = {name: {key: metric.value for key, metric in found.items()} for name, found in systems.items()}
    for name in ("frechet_blip", "mmd_blip", "fid", "kid"):
        assert (value["noise"][name] or 0) > 3 * abs(value["real"][name] or 0), name
        assert (value["one"][name] or 0) > 3 * abs(value["real"][name] or 0), name
    assert (value["real"]["precision_blip"] or 0) > 0.8 and (value["real"]["recall_blip"] or 0) > 0.8
    assert value["noise"]["precision_blip"] == 0
    assert (value["one"]["recall_blip"] or 0) < 0.05 and value["one"]["inception_score"] == pytest.approx(1)
    for metric in systems["real"].values():
        assert (metric.n == 60 and "60 real ones of 'val'" in metric.protocol) or "one split" in metric.protocol
        assert metric.ci95 is None or metric.ci95.low <= (metric.value or 0) <= metric.ci95.high
    assert {metric.reason for name, metric in systems["gone"].items()} == {"not trained"}
    assert set(systems["gone"]) == {*systems["real"], "seconds_per_picture"}


def test_without_weights_or_a_reference_there_is_a_reason(split: tuple[np.ndarray, Reference]) -> None:
    own, reference = split
    systems: dict[str, dict[str, Metric]] = {"real": {}}
    add_realism(systems, {"real": gallery(own)}, reference, Inception(None, "no weights"), FEW)
    assert {systems["real"][name].reason for name in ("fid", "kid", "inception_score")} == {"no weights"}
    assert systems["real"]["frechet_blip"].value is not None
    add_realism(systems, {"real": gallery(own)}, "no other split", Inception(Colours(), None), FEW)
    for name in ("frechet_blip", "mmd_blip", "precision_blip", "recall_blip", "fid", "kid"):
        assert systems["real"][name].reason == "no other split", name
    assert systems["real"]["inception_score"].value is not None


def test_the_reference_is_another_held_out_split(toy: PreparedSet) -> None:
    features = mean_colours(toy.images)
    found = choose_reference(toy, "val", features, 50, seed=0)
    assert isinstance(found, Reference) and found.split == "test" and len(found.pictures) == 50
    assert np.array_equal(found.features, mean_colours(found.pictures))
    test_rows = toy.split("test").unique_images
    assert all((toy.images[test_rows] == picture).all(axis=(1, 2, 3)).any() for picture in found.pictures)
    assert "no held-out split besides 'test'" in str(choose_reference(toy, "test", features, 50, seed=0))


def test_the_reference_has_no_picture_of_a_prompt(toy: PreparedSet) -> None:
    in_both = [dataclasses.replace(record, split="val") for record in toy.records if record.split == "test"][:20]
    official = dataclasses.replace(toy, records=[*toy.records, *in_both])
    found = choose_reference(official, "val", mean_colours(toy.images), 500, seed=0)
    assert isinstance(found, Reference)
    assert len(found.pictures) == len(toy.split("test").unique_images) - len({record.image for record in in_both})


def test_copies_are_found_and_drawn(toy: PreparedSet, tmp_path: Path) -> None:
    prompts = choose_prompts(toy.split("test"), 60, seed=0)
    rng = np.random.default_rng(0)
    noisy = np.clip(toy.images.astype(int) + rng.integers(-40, 41, toy.images.shape), 0, 255).astype(np.uint8)
    world = dataclasses.replace(toy, images=noisy)  # no picture is another's copy
    real, train = noisy[prompts.image_rows], noisy[toy.split("train").image_rows[:60]]
    half = np.concatenate([train[:30], real[30:]])
    galleries = {"prior": gallery(half), "diffusion": gallery(train), "real": gallery(real)}
    systems: dict[str, dict[str, Metric]] = {name: {} for name in galleries} | {"gone": unavailable("not trained")}
    found = add_copying(systems, galleries, world, mean_colours(noisy), prompts.texts, FEW, tmp_path / "copying")
    for space in ("blip", "pixels"):
        threshold = found[f"threshold_{space}"]
        assert threshold.n == 60 and (threshold.value or 0) > 0 and "0 pictures that are in train" in threshold.protocol
        assert systems["real"][f"copied_{space}"].value == pytest.approx(1 / 60)  # 1 %, of 60 pictures
        assert systems["prior"][f"copied_{space}"].value == pytest.approx(0.5, abs=0.02)
        assert systems["diffusion"][f"copied_{space}"].value == 1
        assert systems["diffusion"][f"nearest_train_{space}"].value == pytest.approx(0, abs=1e-6)
        assert systems["gone"][f"copied_{space}"].reason == "not trained"
    assert sorted(path.name for path in (tmp_path / "copying").iterdir()) == ["diffusion.png", "prior.png"]
    from PIL import Image

    with Image.open(tmp_path / "copying" / "prior.png") as sheet:
        levels = np.asarray(sheet.convert("RGB"))
    left, right = levels[53 : 53 + CELL, 24 : 24 + CELL], levels[53 : 53 + CELL, 30 + CELL : 30 + 2 * CELL]
    enlarged = train[0].repeat(8, axis=0).repeat(8, axis=1)
    assert np.array_equal(left, enlarged) and np.array_equal(right, enlarged)


def test_real_pictures_that_are_in_train_do_not_move_the_threshold() -> None:
    distances = np.array([0.0, 0.0, *np.linspace(0.2, 0.4, 101)])
    rows = np.zeros(103, dtype=np.int64)
    real = {"blip": Nearest(rows, distances + 1e-7), "pixels": Nearest(rows, distances)}
    found = copy_thresholds(real, FEW)
    assert found["pixels"].value == pytest.approx(0.202) and found["blip"].value == pytest.approx(0.202)
    assert found["pixels"].n == 101 and "2 pictures that are in train themselves" in found["pixels"].protocol
    every = {space: Nearest(rows, np.zeros(103)) for space in real}
    assert "is in train itself" in str(copy_thresholds(every, FEW)["blip"].reason)


def _system(name: str, spread: float) -> System:
    """Paints grey with noise, more or less of it; the noise is each picture's own."""

    def open(prompts: Prompts) -> Draw:
        def draw(first: int, last: int) -> np.ndarray:
            noise = [torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(row)) for row in range(first, last)]
            return to_uint8(spread * torch.stack(noise))

        return draw

    return System(name, open)


def _broken(prompts: Prompts) -> Draw:
    raise StageError("not trained")


def test_diversity_is_the_difference_of_pictures_of_one_prompt(
    toy: PreparedSet, instruments: Instruments, tmp_path: Path
) -> None:
    prompts = choose_prompts(toy.split("test"), 80, seed=0)
    section = EvaluationConfig(diversity_prompts=6, diversity_pictures=3, batch_size=5)
    metrics: dict[str, dict[str, Metric]] = {"prior": {}, "diffusion": {}, "real": {}, "reconstruction": {}}
    systems = [_system("prior", 0.1), _system("diffusion", 0.0), _system("reconstruction", 0.2)]
    add_diversity(metrics, systems, prompts, toy, instruments, section, tmp_path / "a")
    noise = metrics["prior"]["diversity_pixels"]
    assert noise.value == pytest.approx(0.1 * 2**0.5, rel=0.05) and noise.n == 6 and noise.ci95 is not None
    assert metrics["diffusion"]["diversity_pixels"].value == 0
    assert metrics["diffusion"]["diversity_blip"].value == 0
    assert metrics["prior"]["diversity_lpips"].reason == "no weights in this test"
    assert metrics["reconstruction"] == {}
    real = metrics["real"]["diversity_pixels"]
    assert real.n == 6 and "2 to 3 train pictures that have every attribute" in real.protocol
    assert (real.value or 0) > 0.1 and metrics["real"]["diversity_blip"].value == 0  # its colours are what it sees
    add_diversity(metrics, [System("prior", _broken)], prompts, toy, instruments, section, tmp_path / "b")
    assert metrics["prior"]["diversity_blip"].reason == "not trained"
    none: dict[str, dict[str, Metric]] = {"prior": {}, "real": {}}
    left_out = dataclasses.replace(section, diversity_prompts=0)
    add_diversity(none, systems, prompts, toy, instruments, left_out, tmp_path / "c")
    assert none == {"prior": {}, "real": {}}


def test_confusions_are_counted_by_asked_and_shown() -> None:
    asked, shown = np.array([0, 0, 1, 1, -1, 1]), np.array([0, 1, 1, -1, 0, 1])
    assert count_confusions(asked, shown, 2).tolist() == [[1, 1, 0], [0, 2, 1]]  # what was not asked does not count


def test_confusions_of_real_pictures_lie_on_the_diagonal(toy: PreparedSet, judge: Judge) -> None:
    prompts = choose_prompts(toy.split("test"), 80, seed=0)
    galleries = {"prior": gallery(toy.images[prompts.image_rows])}
    labels = prompts.labels(toy.attribute_values or {})
    found = confusion_section(galleries, labels, judge, 32)
    assert list(found) == ["prior"] and list(found["prior"]) == ["subject", "colour", "count"]
    colour = found["prior"]["colour"]
    assert colour["shown"] == [*colour["asked"], "none seen"]
    counts = np.array(colour["counts"])
    assert counts.sum(axis=1).tolist() == [20] * 4 and np.trace(counts) >= 78
    assert np.array(found["prior"]["count"]["counts"]).sum() == 40  # bars are not counted
    assert "no true attributes" in confusion_section(galleries, labels, None, 32)["reason"]


def test_scenes_have_their_own_accuracy(toy: PreparedSet, instruments: Instruments) -> None:
    prompts = choose_prompts(toy.split("test"), 80, seed=0)
    labels = prompts.labels(toy.attribute_values or {})
    pictures = toy.images[prompts.image_rows].copy()
    bars = labels[:, 0] == 1
    pictures[bars] = pictures[~bars][: bars.sum()]  # squares in the place of bars
    found = attribute_scores(pictures, labels, instruments)
    square, bar = (found[f"attribute_accuracy_scene/{scene}"] for scene in ("square", "bar"))
    assert square.n == bar.n == 40 and (square.value or 0) > 0.97 and (bar.value or 1) < 0.4
    only_bars = attribute_scores(pictures[bars], labels[bars], instruments)
    assert "no prompt asks" in str(only_bars["attribute_accuracy_scene/square"].reason)


def test_the_prompt_is_found_among_the_captions_of_its_split(toy: PreparedSet, instruments: Instruments) -> None:
    from stages.evaluation.scores import CaptionPool, Case, picture_features

    prompts = choose_prompts(toy.split("test"), 80, seed=0)
    pictures = toy.images[prompts.image_rows]
    case = Case(pictures, [], prompts.texts, prompts.image_rows, pictures, prompts.labels(toy.attribute_values or {}))
    few = retrieval_scores(case, instruments)["r_precision"]
    assert few.value is None and "captions to choose from, 100 are needed" in str(few.reason)
    captions = [*toy.split("test").captions, *toy.split("train").captions[:40]]
    own = {int(row): [place] for place, row in enumerate(toy.split("test").image_rows)}
    pool = CaptionPool("test", captions, own, instruments.blip.embed_text(captions).numpy())
    found = retrieval_scores(case, dataclasses.replace(instruments, pool=pool))["r_precision"]
    assert found.n == 80 and found.value == pytest.approx(1 / 25, abs=0.005)  # a quarter is read alike: by lot
    others = case.against(np.roll(np.arange(80), 1))
    assert picture_features(instruments.blip, pictures, 7).shape == (80, 4)
    worse = retrieval_scores(others, dataclasses.replace(instruments, pool=pool))["r_precision"]
    assert (worse.value or 0) < 0.5 * (found.value or 0)


def test_a_pictures_own_captions_are_no_wrong_answers_and_those_of_others_are() -> None:
    """A caption that another picture has too is true of both, but the other's further captions are not."""
    pairs = [(4, "A painting"), (4, "a ship"), (7, "a painting"), (7, "a mill"), (9, "a fish")]
    records = [Record(n, image, text, "", "test", "g", None) for n, (image, text) in enumerate(pairs)]
    pool = pool_captions(WordLengths(), Split("test", records, np.arange(5)), 2)  # type: ignore[arg-type]
    assert pool.captions == ["a painting", "a ship", "a mill", "a fish"] and len(pool.embeddings) == 4
    untrue = pool.untrue_of(np.array([4, 7, 9, 4]))
    assert [rows.tolist() for rows in untrue] == [[2, 3], [1, 3], [0, 1, 2], [2, 3]]


class WordLengths:
    """Reads nothing of a caption but its length."""

    def embed_text(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[float(len(text))] for text in texts])


def test_only_pictures_that_are_there_are_a_gallery(tmp_path: Path, toy: PreparedSet, instruments: Instruments) -> None:
    np.save(tmp_path / "prior.npy", toy.images[:5])
    found = open_galleries(tmp_path, ["prior", "prior_shuffled"], instruments.blip, 2)
    assert list(found) == ["prior"]
    expected = instruments.blip.encode_images(to_tensor(toy.images[:5])).numpy()
    assert np.array_equal(found["prior"].features, expected) and np.array_equal(found["prior"].pictures, toy.images[:5])
