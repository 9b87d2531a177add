"""The source `folder` with a caption file beside each picture."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.config import RunConfig
from stages.config.data import DataConfig, FolderConfig
from stages.data import PreparedSet, load_dataset
from stages.data.folder import FolderSource, read_folder
from stages.data.prepared import PreparedWriter
from stages.data.source import digest
from stages.errors import StageError
from stages.workspace import Workspace


def add(path: Path, number: int, caption: str | None) -> None:
    """A picture with its caption beside it, folders made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")


def prepare(path: Path) -> PreparedSet:
    directory = path.parent / f"{path.name}.prepared"
    directory.mkdir()
    config = DataConfig(source="folder", folder=FolderConfig(path=str(path)))
    FolderSource(config, 0).write(PreparedWriter(directory, 16))
    return load_dataset(directory)


def test_captions_beside_pictures_are_read(tmp_path: Path) -> None:
    for number in range(8):
        add(tmp_path / "f" / f"p{number}.png", number, f"picture {number}\n")
    add(tmp_path / "f" / "deep" / "er" / "A b.JPG", 8, "\ufefftwo\r\nlines, one caption ")
    add(tmp_path / "f" / "l'été.v2.webp", 9, "summer")
    add(tmp_path / "f" / ".hidden.png", 10, None)
    add(tmp_path / "f" / ".cache" / "x.png", 11, None)
    captions = {record.file_name: record.caption for record in prepare(tmp_path / "f").records}
    assert captions == {f"p{number}.png": f"picture {number}" for number in range(8)} | {
        "deep/er/A b.JPG": "two lines, one caption",
        "l'été.v2.webp": "summer",
    }


def test_metadata_come_before_captions_beside_pictures(tmp_path: Path) -> None:
    add(tmp_path / "f" / "a.png", 0, "beside")
    (tmp_path / "f" / "metadata.csv").write_text("file_name,text\na.png,in the table\n")
    assert [caption.text for caption in read_folder(str(tmp_path / "f"))[0].captions] == ["in the table"]


@pytest.mark.parametrize(
    ("name", "caption", "message"),
    [
        ("b.png", None, r"b\.png has no caption: write one into b\.txt"),
        ("b.png", " \n", r"b\.txt: the caption of 'b\.png' is empty"),
        ("b.png", "x" * ((1 << 20) + 1), r"b\.txt: more than 1048576 bytes is no caption"),
        ("README.txt", "about", r"README\.txt has no picture beside it"),
        ("b.png", "link out", r"b\.png is a link that leads out of the folder"),
        ("b.png", "text link out", r"b\.txt is a link that leads out of the folder"),
        ("b.png", "broken", r"b\.txt: the picture .*b\.png is broken"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, caption: str | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    for number in range(4):
        add(folder / f"a{number}.png", number, "x")
    if name.endswith(".txt"):
        (folder / name).write_text(caption or "")
    else:
        add(folder / name, 9, caption)
    for changed, file in (("link out", "b.png"), ("text link out", "b.txt")):
        if caption == changed:
            (folder / file).rename(tmp_path / file)
            (folder / file).symlink_to(tmp_path / file)
    if caption == "broken":
        (folder / name).write_bytes((folder / name).read_bytes()[:200])
    with pytest.raises(StageError, match=message) as caught:
        prepare(folder)
    assert "\n" not in str(caught.value)


def test_captions_must_be_utf8(tmp_path: Path) -> None:
    add(tmp_path / "f" / "a.png", 0, None)
    (tmp_path / "f" / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(StageError, match=r"a\.txt: not UTF-8"):
        read_folder(str(tmp_path / "f"))


def test_a_name_that_is_no_utf8_is_one_line(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    add(tmp_path / "f" / "a.png", 0, "x")
    before = digest(DataConfig(source="folder", folder=FolderConfig(path=str(tmp_path / "f"))))
    add(tmp_path / "f" / odd, 1, "y")
    assert digest(DataConfig(source="folder", folder=FolderConfig(path=str(tmp_path / "f")))) != before
    with pytest.raises(StageError, match=r"the name 'caf\\udce9.png' is not UTF-8: rename the file"):
        read_folder(str(tmp_path / "f"))


def test_pictures_in_the_prepared_sets_own_place_are_left_alone(tmp_path: Path) -> None:
    add(tmp_path / "data" / "pics" / "raw" / "a.png", 0, "x")
    for path in ("pics", "pics/raw"):
        config = RunConfig(
            run="toy",
            datasets=str(tmp_path / "data"),
            checkpoints=str(tmp_path / "checkpoints"),
            data=DataConfig(name="pics", source="folder", folder=FolderConfig(path=str(tmp_path / "data" / path))),
        )
        with (
            pytest.raises(StageError, match="is in the prepared set's own folder"),
            Workspace(config).publish("data") as output,
        ):
            FolderSource(config.data, 0).write(PreparedWriter(output.directory, 16))
        assert (tmp_path / "data" / "pics" / "raw" / "a.png").is_file()


def test_linked_folders_are_not_entered(tmp_path: Path) -> None:
    add(tmp_path / "f" / "a.png", 0, "x")
    add(tmp_path / "outside" / "b.png", 1, "y")
    (tmp_path / "f" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "f" / "loop").symlink_to(tmp_path / "f")
    assert [entry.file_name for entry in read_folder(str(tmp_path / "f"))] == ["a.png"]
