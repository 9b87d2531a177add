"""The drawn data set: deterministic, balanced, with combinations kept out of training."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.config.data import ScenesConfig
from stages.data import PreparedSet, load_dataset
from stages.data.prepared import PreparedWriter
from stages.data.scenes import (
    HELD_OUT,
    SCENES,
    ScenesSource,
    attribute_values,
    is_held_out,
    paint_examples,
    paint_picture,
    read_title,
)
from stages.data.scenes.attributes import picture_seed, plan_split
from stages.data.scenes.painter import paint_all
from stages.data.scenes.source import contradict, describe

COUNTS = ScenesConfig(train=60, val=12, test=18, compositions=24)


def prepare(directory: Path, *, seed: int = 0, size: int = 32, counts: ScenesConfig = COUNTS) -> PreparedSet:
    directory.mkdir()
    ScenesSource(counts, seed).write(PreparedWriter(directory, size))
    return load_dataset(directory)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    return prepare(tmp_path_factory.mktemp("scenes") / "set")


def example(scene: str) -> dict[str, str]:
    return {"subject": scene, **{name: values[0] for name, values in SCENES[scene].items()}}


def test_the_same_seed_makes_the_same_files(dataset: PreparedSet, tmp_path: Path) -> None:
    again = prepare(tmp_path / "again")
    for name in ("images.npy", "records.jsonl", "attributes.json"):
        assert (again.directory / name).read_bytes() == (dataset.directory / name).read_bytes()


def test_another_seed_makes_another_set(dataset: PreparedSet, tmp_path: Path) -> None:
    other = prepare(tmp_path / "other", seed=1)
    assert not np.array_equal(other.images[0], dataset.images[0])
    assert [record.attributes for record in other.records] != [record.attributes for record in dataset.records]


def test_more_pictures_do_not_change_the_first(dataset: PreparedSet, tmp_path: Path) -> None:
    longer = prepare(tmp_path / "longer", counts=ScenesConfig(train=66, val=12, test=18, compositions=24))
    assert np.array_equal(longer.images[:60], dataset.images[:60])
    assert longer.records[:60] == dataset.records[:60]


def test_processes_paint_what_one_process_paints(tmp_path: Path) -> None:
    plan = plan_split("train", 402, 3)
    jobs = [(row, picture_seed("train", row, 3), attributes) for row, attributes in enumerate(plan)]
    painted = []
    for workers in (1, 2):
        path = tmp_path / f"{workers}.npy"
        np.save(path, np.zeros((402, 16, 16, 3), dtype=np.uint8))
        paint_all(path, 16, jobs, workers)
        painted.append(np.load(path))
    assert np.array_equal(*painted)
    assert painted[0].any(axis=(1, 2, 3)).all()


def test_splits_have_their_counts_and_share_no_picture(dataset: PreparedSet) -> None:
    assert dataset.splits == ("train", "val", "test", "compositions")
    assert [len(dataset.split(name)) for name in dataset.splits] == [60, 12, 18, 24]
    rows = np.concatenate([dataset.split(name).unique_images for name in dataset.splits])
    assert sorted(rows) == list(range(len(dataset.images)))


def test_no_two_pictures_are_alike(dataset: PreparedSet) -> None:
    flat = dataset.images.reshape(len(dataset.images), -1).astype(np.float32) / 255.0
    distance = np.sqrt(((flat[:, None] - flat[None]) ** 2).mean(axis=2)) + np.eye(len(flat))
    assert distance.min() > 0.01


def test_the_same_attributes_are_drawn_differently_each_time() -> None:
    first, second = (paint_picture(example("ship"), 64, (0, 0, place)).astype(np.float32) for place in (0, 1))
    assert np.abs(first - second).mean() > 2.0


@pytest.mark.parametrize("scene", SCENES)
def test_held_out_combinations_are_only_in_compositions(scene: str) -> None:
    for split in ("train", "val", "test"):
        assert not any(is_held_out(attributes) for attributes in plan_split(split, 3000, 0))
    compositions = [one for one in plan_split("compositions", 600, 0) if one["subject"] == scene]
    assert all(is_held_out(attributes) for attributes in compositions)
    for pair in HELD_OUT[scene]:
        assert any(pair.items() <= attributes.items() for attributes in compositions)


def test_every_value_is_in_train_and_values_are_balanced() -> None:
    plan = plan_split("train", 1200, 0)
    used = Counter(item for attributes in plan for item in attributes.items())
    for name, values in attribute_values().items():
        counts = [used[name, value] for value in values]
        assert min(counts) > 0.9 * max(counts), (name, counts)


def test_attributes_are_those_of_the_scene(dataset: PreparedSet) -> None:
    assert dataset.attribute_values == attribute_values()
    assert len(attribute_values()) >= 8
    for record in dataset.records:
        assert record.attributes is not None
        assert list(record.attributes) == ["subject", *SCENES[record.attributes["subject"]]]
        assert all(value in attribute_values()[name] for name, value in record.attributes.items())


@pytest.mark.parametrize("split", ["val", "test", "compositions"])
def test_a_contrast_is_untrue_in_the_attribute_that_it_names_and_in_no_other(split: str) -> None:
    wrong: Counter[tuple[str, str]] = Counter()
    for place, attributes in enumerate(plan_split(split, 1200, 0)):
        seed = picture_seed(split, place, 0)
        title, _ = describe(attributes, seed, shorten=False)
        contrast = contradict(attributes, title, seed)
        true, said = read_title(title), read_title(contrast.caption)
        assert {name for name in true | said if true.get(name) != said.get(name)} == {contrast.attribute}, title
        assert said[contrast.attribute] in SCENES[attributes["subject"]][contrast.attribute]
        wrong[attributes["subject"], contrast.attribute] += 1
    assert set(wrong) == {(scene, name) for scene, own in SCENES.items() for name in own}  # each is asked for


def test_held_out_records_have_a_contrast_and_train_records_have_none(dataset: PreparedSet) -> None:
    for record in dataset.records:
        assert (record.contrast is None) == (record.split == "train")
        if record.contrast is not None:
            assert record.attributes is not None
            said = read_title(record.contrast.caption)
            wrong = {name for name, value in record.attributes.items() if said.get(name) != value}
            assert wrong == {record.contrast.attribute} and record.contrast.caption != record.caption


@pytest.mark.parametrize("scene", SCENES)
def test_every_attribute_shows(scene: str) -> None:
    """Changing one value changes the picture by much more than the same value drawn again does in brush strokes."""
    base = example(scene)
    picture = paint_picture(base, 64, (7,)).astype(np.float32)
    for name, values in SCENES[scene].items():
        for value in values[1:]:
            other = paint_picture(base | {name: value}, 64, (7,)).astype(np.float32)
            changed = np.abs(other - picture).max(axis=2) > 40
            assert changed.mean() > 0.03, (name, value, changed.mean())


@pytest.mark.parametrize("killed_by", [signal.SIGTERM, signal.SIGKILL])
def test_who_is_killed_leaves_no_process_behind(tmp_path: Path, killed_by: signal.Signals) -> None:
    """Neither leaves the parent the time to end what it started, and a pool's processes wait for work for ever."""
    path = tmp_path / "images.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (50_000, 32, 32, 3)).flush()
    script = (
        "from pathlib import Path\n"
        "from stages.data.scenes.painter import paint_all\n"
        "if __name__ == '__main__':\n"
        f"    jobs = [(row, (row,), {example('fruit')}) for row in range(50_000)]\n"
        f"    paint_all(Path({str(path)!r}), 32, jobs, workers=2)\n"
    )
    (tmp_path / "paint.py").write_text(script)
    parent = subprocess.Popen([sys.executable, tmp_path / "paint.py"], stderr=subprocess.DEVNULL)
    _until(lambda: len(_painters_of(parent.pid)) == 2 and bool(np.load(path, mmap_mode="r").any()))
    painters = _painters_of(parent.pid)
    parent.send_signal(killed_by)
    parent.wait(timeout=30)
    _until(lambda: not any(_is_running(each) for each in painters))


def _until(happened: Callable[[], bool]) -> None:
    for _ in range(600):
        if happened():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen within a minute")


def _painters_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in children if b"multiprocessing-fork" in Path(f"/proc/{each}/cmdline").read_bytes()]


def _is_running(pid: int) -> bool:
    """Whether the process is there and has not ended (what nobody has asked for its exit status is still listed)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("size", [32, 64, 136, 256])
def test_a_picture_looks_the_same_at_any_size(size: int) -> None:
    """The same picture painted at two sizes agrees, once brought to 16 px, up to its brush strokes."""
    small = paint_picture(example("bouquet"), 16, (5,)).astype(np.float32)
    large = paint_picture(example("bouquet"), size, (5,))
    assert large.shape == (size, size, 3) and large.dtype == np.uint8
    bins = np.arange(size) * 16 // size
    average = np.zeros((16, size), dtype=np.float32)
    average[bins, np.arange(size)] = 1.0
    average /= average.sum(axis=1, keepdims=True)
    reduced = np.einsum("ab,bdc,ed->aec", average, large.astype(np.float32), average)
    assert np.abs(reduced - small).mean() < 8.0


def test_examples_show_every_combination_and_no_picture_of_the_set(dataset: PreparedSet) -> None:
    pictures, plan = paint_examples(60, 32, 0)
    assert pictures.shape == (60, 32, 32, 3)
    assert {is_held_out(attributes) for attributes in plan} == {True, False}
    known = {picture.tobytes() for picture in dataset.images}
    assert not any(picture.tobytes() in known for picture in pictures)
