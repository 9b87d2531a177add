"""The prepared set on disk, its config, and the stage that makes it."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.config.data import DataConfig, FolderConfig, PicturesConfig, ScenesConfig, SplitsConfig
from stages.data import load_dataset, to_tensor, to_uint8
from stages.data.prepared import Contrast, PreparedWriter, split_counts
from stages.data.source import digest, open_source
from stages.errors import StageError


def write(directory: Path) -> Path:
    """Four pictures: two pairs of the first in train, one each in val, test and `extra`."""
    directory.mkdir()
    writer = PreparedWriter(directory, 16)
    images = writer.allocate(4)
    images[:] = np.arange(4, dtype=np.uint8)[:, None, None, None]
    for row, split, caption in ((0, "train", "one"), (1, "val", "zwei\u2028"), (0, "train", "three"), (3, "extra", "x"),
                                (2, "test", "y")):  # fmt: skip
        writer.add(row, caption, file_name=f"{row}.png", split=split, group=str(row), musti={"language": "en"})
    writer.close({"subject": ["ship"]})
    return directory


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path / "d"))
    assert data.image_size == 16 and data.images.shape == (4, 16, 16, 3) and not data.images.flags.writeable
    assert data.splits == ("train", "val", "test", "extra")
    train = data.split("train")
    assert len(train) == 2 and train.captions == ["one", "three"] and data.split("val").captions == ["zwei\u2028"]
    assert train.image_rows.tolist() == [0, 0] and train.record_rows.tolist() == [0, 2]
    assert train.unique_images.tolist() == [0] and train.image_rows.dtype == np.int64
    assert [data.records[row] for row in train.record_rows] == train.records
    assert data.attribute_values == {"subject": ["ship"]}
    assert split_counts(data)["train"] == {"pairs": 2, "pictures": 1}


def test_contrasts_survive_writing_and_loading(tmp_path: Path) -> None:
    writer = PreparedWriter(tmp_path, 16)
    writer.allocate(2)
    contrast = Contrast("ein grünes „Schiff“\u2028", "hull")
    writer.add(0, "a red ship", file_name="0.png", split="test", group="0", contrast=contrast)
    writer.add(1, "a blue ship", file_name="1.png", split="test", group="1")
    writer.close()
    assert [record.contrast for record in load_dataset(tmp_path).records] == [contrast, None]
    lines = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text(encoding="utf-8").split("\n")[:2]]
    assert lines[0]["contrast"] == {"caption": contrast.caption, "attribute": "hull"} and "contrast" not in lines[1]


@pytest.mark.parametrize(
    "contrast", ['"a green ship"', '{"caption": "x"}', '{"caption": "x", "said": "y"}', "3", "null"]
)
def test_a_broken_contrast_is_named_with_its_line(tmp_path: Path, contrast: str) -> None:
    directory = write(tmp_path / "d")
    lines = (directory / "records.jsonl").read_text(encoding="utf-8").split("\n")
    lines[2] = f'{lines[2][:-1]}, "contrast": {contrast}}}'
    (directory / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(StageError, match=r"records.jsonl: line 3 is not a record .*run: make data") as caught:
        load_dataset(directory)
    assert "\n" not in str(caught.value)


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="has no split 'compositions', only train, val, test, extra"):
        load_dataset(write(tmp_path / "d")).split("compositions")


def test_pictures_are_written_and_read_by_row(tmp_path: Path) -> None:
    with PreparedWriter(tmp_path, 16).open_pictures(3) as file:
        for row in (2, 0):
            file.write(row, np.full((16, 16, 3), row + 1, dtype=np.uint8))
        assert (file.read(2) == 3).all() and (file.read(1) == 0).all()
        with pytest.raises(ValueError, match=r"row must be in \[0, 3\), got 3"):
            file.write(3, file.read(0))
        with pytest.raises(ValueError, match="expected a picture"):
            file.write(1, np.zeros((16, 16, 4), dtype=np.uint8))
    assert np.load(tmp_path / "images.npy")[:, 0, 0, 0].tolist() == [1, 0, 3]


@pytest.mark.parametrize("name", ["images.npy", "records.jsonl", "attributes.json"])
def test_a_file_cut_short_is_named(name: str, tmp_path: Path) -> None:
    directory = write(tmp_path / "d")
    path = directory / name
    os.truncate(path, path.stat().st_size - 5)
    with pytest.raises(StageError, match=name) as caught:
        load_dataset(directory)
    assert "run: make data" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["images.npy", "records.jsonl"])
def test_a_missing_or_empty_file_is_named(name: str, tmp_path: Path) -> None:
    directory = write(tmp_path / "d")
    (directory / name).write_bytes(b"")
    with pytest.raises(StageError, match=name):
        load_dataset(directory)
    (directory / name).unlink()
    with pytest.raises(StageError, match=f"{name}: missing"):
        load_dataset(directory)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    directory = write(tmp_path / "d")
    images = np.load(directory / "images.npy")
    np.save(directory / "images.npy", images[:3])
    with pytest.raises(StageError, match="line 4 names picture 3 of 3"):
        load_dataset(directory)
    np.save(directory / "images.npy", np.concatenate([images, images]))
    with pytest.raises(StageError, match="4 of the 8 pictures have no record"):
        load_dataset(directory)
    np.save(directory / "images.npy", images.astype(np.float32))
    with pytest.raises(StageError, match="uint8"):
        load_dataset(directory)


def test_pictures_survive_the_way_through_tensors() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    image = to_tensor(pictures)
    assert image.shape == (2, 3, 8, 8) and image.dtype == torch.float32
    assert image.min() >= -1.0 and image.max() <= 1.0
    assert torch.allclose(image[1, 2, 3, 4], torch.tensor(pictures[1, 3, 4, 2] / 127.5 - 1.0, dtype=torch.float32))
    assert np.array_equal(to_uint8(image), pictures)
    assert to_uint8(torch.full((1, 3, 1, 1), 1.7)).max() == 255 and to_uint8(torch.full((1, 3, 1, 1), -9.0)).max() == 0


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (DataConfig, {"image_size": 63}, "data.image_size must be a multiple of 8, got 63"),
        (DataConfig, {"image_size": 8}, "data.image_size must be from 16 to 1024"),
        (DataConfig, {"name": "../x"}, "data.name must be the name of a folder"),
        (DataConfig, {"name": ""}, "data.name must be the name of a folder"),
        (ScenesConfig, {"val": 0}, "data.scenes.val must be at least 1, got 0"),
        (PicturesConfig, {"background": (0, 0, 256)}, "data.pictures.background"),
        (SplitsConfig, {"val_fraction": 0.0}, "data.splits.val_fraction must be between 0 and 1"),
        (SplitsConfig, {"val_fraction": 0.6, "test_fraction": 0.5}, "must be below 1, got 1.1"),
        (SplitsConfig, {"near_duplicate_bits": 33}, "data.splits.near_duplicate_bits must be from 0 .* got 33"),
        (SplitsConfig, {"official": True, "test_list": "a"}, "data.splits.official excludes test_list"),
    ],
)
def test_impossible_settings_are_refused(section: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**values)


def test_the_config_names_the_source(tmp_path: Path) -> None:
    scenes = DataConfig(image_size=16, scenes=ScenesConfig(train=6, val=6, test=6, compositions=6))
    open_source(scenes, 0).write(PreparedWriter(tmp_path, 16))
    assert len(load_dataset(tmp_path).split("compositions")) == 6
    with pytest.raises(StageError, match=r"data.folder.path is empty"):
        open_source(dataclasses.replace(scenes, source="folder"), 0).write(PreparedWriter(tmp_path, 16))


def test_the_digest_follows_the_folder(tmp_path: Path) -> None:
    config = DataConfig(source="folder", folder=FolderConfig(path=str(tmp_path / "f")))
    assert digest(config) is None
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "metadata.csv").write_text("file_name,text\n")
    first = digest(config)
    assert first is not None and digest(config) == first
    (tmp_path / "f" / "a.png").write_bytes(b"x")
    assert digest(config) != first
    listed = dataclasses.replace(config, splits=SplitsConfig(test_list=str(tmp_path / "list.txt")))
    (tmp_path / "list.txt").write_text("a.png")
    before = digest(listed)
    (tmp_path / "list.txt").write_text("b.png")
    assert digest(listed) not in (before, digest(config))
    assert digest(DataConfig()) == digest(DataConfig(name="other"))
