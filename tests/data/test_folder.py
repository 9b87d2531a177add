"""The source `folder`: what it reads, how it splits, and what it says of what it cannot use."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.config.data import DataConfig, FolderConfig, PicturesConfig, SplitsConfig
from stages.data import PreparedSet, load_dataset
from stages.data.folder import FolderSource
from stages.data.prepared import PreparedWriter
from stages.data.splitting import Ties, name_groups, split_groups
from stages.errors import StageError


def picture(number: int, size: tuple[int, int] = (20, 20)) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def folder(path: Path, records: list[Any], pictures: int = 12) -> Path:
    """A folder with p0.png, p1.png, ... and these records (a string is a line as it is)."""
    path.mkdir()
    for number in range(pictures):
        picture(number).save(path / f"p{number}.png")
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (path / "metadata.jsonl").write_text("".join(line + "\n" for line in lines))
    return path


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", [*plain(), {"file_name": "link.png", "text": "x"}])
    picture(99).save(tmp_path / "outside.png")
    (path / "link.png").symlink_to("../outside.png")
    with pytest.raises(StageError, match=r"line 13: .*link.png is a link that leads out of the folder"):
        prepare(path)
    (path / "link.png").unlink()
    (path / "link.png").symlink_to("p3.png")
    (tmp_path / "f.prepared").rmdir()
    assert len(prepare(path).images) == 13
    (tmp_path / "g").symlink_to(path)  # the folder itself may be a link
    assert len(prepare(tmp_path / "g").images) == 13


def test_odd_file_names_are_read(tmp_path: Path) -> None:
    names = ["a b.png", 'it\'s "quoted".png', "héron – 鷺.png", "..dots.png", "sub dir/ü.png"]
    path = folder(tmp_path / "f", [*plain(), *({"file_name": name, "text": name} for name in names)])
    (path / "sub dir").mkdir()
    for number, name in enumerate(names):
        picture(50 + number).save(path / name)
    data = prepare(path)
    assert [record.file_name for record in data.records[12:]] == names
    assert [record.caption for record in data.records[12:]] == names


def plain(pictures: int = 12) -> list[dict[str, Any]]:
    return [{"file_name": f"p{number}.png", "text": f"picture {number}"} for number in range(pictures)]


def source(path: Path | str, seed: int = 0, **settings: Any) -> FolderSource:
    """The source of a folder; settings are those of `data.pictures`, or shares of val and test."""
    shares = {name: settings.pop(name) for name in ("val_fraction", "test_fraction") if name in settings}
    config = DataConfig(
        source="folder",
        folder=FolderConfig(path=str(path)),
        pictures=PicturesConfig(**settings),
        splits=SplitsConfig(**shares),
    )
    return FolderSource(config, seed)


def prepare(path: Path, *, seed: int = 0, **settings: Any) -> PreparedSet:
    directory = path.parent / f"{path.name}.prepared"
    directory.mkdir()
    source(path, seed, **settings).write(PreparedWriter(directory, 16))
    return load_dataset(directory)


def test_pictures_and_captions_are_read(tmp_path: Path) -> None:
    data = prepare(folder(tmp_path / "f", plain()))
    assert data.images.shape == (12, 16, 16, 3) and data.attribute_values is None
    assert [record.caption for record in data.records] == [f"picture {number}" for number in range(12)]
    expected = np.asarray(picture(3).resize((16, 16), Image.Resampling.LANCZOS))
    assert np.array_equal(data.images[data.records[3].image], expected)
    assert all(record.attributes is None for record in data.records)


def test_a_picture_may_have_several_captions(tmp_path: Path) -> None:
    records = [*plain(), {"file_name": "p0.png", "text": ["once more", "and\nagain "]}, "",
               {"file_name": "./p1.png", "text": "another"}]  # fmt: skip
    data = prepare(folder(tmp_path / "f", records))
    captions = {name: [r.caption for r in data.records if r.file_name == name] for name in ("p0.png", "p1.png")}
    assert captions == {"p0.png": ["picture 0", "once more", "and again"], "p1.png": ["picture 1", "another"]}
    assert len(data.images) == 12 and len(data.records) == 15
    assert len({r.split for r in data.records if r.file_name == "p0.png"}) == 1


def test_csv_is_read(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", [])
    (path / "metadata.jsonl").unlink()
    rows = [f'p{number}.png,"picture {number}, with a comma",{number % 4}' for number in range(12)]
    (path / "metadata.csv").write_text("\ufefffile_name,text,group\r\n" + "\r\n".join(rows) + "\r\n", encoding="utf-8")
    data = prepare(path)
    assert data.records[5].caption == "picture 5, with a comma" and data.records[5].group == "1"
    assert data.splits == ("train", "val", "test")


def test_groups_stay_on_one_side(tmp_path: Path) -> None:
    records = [record | {"group": number // 3} for number, record in enumerate(plain())]
    data = prepare(folder(tmp_path / "f", records), val_fraction=0.25, test_fraction=0.25)
    assert [len(data.split(name)) for name in data.splits] == [6, 3, 3]
    for group in range(4):
        assert len({record.split for record in data.records if record.group == str(group)}) == 1


def test_equal_pictures_stay_on_one_side(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", plain())
    for number in range(6):
        Image.open(path / f"p{number}.png").save(path / f"p{number + 6}.png", compress_level=0)
    data = prepare(path, val_fraction=0.3, test_fraction=0.3)
    splits = {record.file_name: record.split for record in data.records}
    assert all(splits[f"p{number}.png"] == splits[f"p{number + 6}.png"] for number in range(6))
    assert set(splits.values()) == {"train", "val", "test"}


def test_the_seed_decides_the_split_and_the_order_does_not(tmp_path: Path) -> None:
    def splits(name: str, records: list[Any], seed: int) -> dict[str, str]:
        data = prepare(folder(tmp_path / name, records), seed=seed, val_fraction=0.3, test_fraction=0.3)
        return {record.file_name: record.split for record in data.records}

    first = splits("a", plain(), 0)
    assert splits("b", plain()[::-1], 0) == first
    assert splits("c", plain(), 1) != first


@pytest.mark.parametrize("pictures", [3, 5, 78, 2055])
@pytest.mark.parametrize("fractions", [(0.1, 0.1), (0.01, 0.02), (0.45, 0.5)])
def test_no_split_is_empty(pictures: int, fractions: tuple[float, float]) -> None:
    groups = [f"g{number}" for number in range(pictures)]
    splits = split_groups(groups, {"val": fractions[0], "test": fractions[1]}, seed=0)
    assert set(splits.values()) == {"train", "val", "test"} and set(splits) == set(groups)
    if pictures > 100:
        assert sum(split == "val" for split in splits.values()) == round(fractions[0] * pictures)


def test_a_large_group_does_not_become_the_validation_set() -> None:
    groups = ["large"] * 80 + [f"g{number}" for number in range(20)]
    for seed in range(10):
        assert split_groups(groups, {"val": 0.1, "test": 0.1}, seed)["large"] == "train"


def test_merged_groups_reach_through_others() -> None:
    ties = Ties(6)
    ties.tie(5, 1)
    keys = [["b", "x"], ["c"], ["a", "x"], ["d", "y"], ["y"], ["e"]]
    assert name_groups(keys, ties) == ["a", "c", "a", "d", "d", "c"]


BAD: dict[str, tuple[list[Any], str]] = {
    "missing picture": ([{"file_name": "none.png", "text": "x"}], "line 13: the picture .*none.png is missing"),
    "broken picture": ([{"file_name": "broken.png", "text": "x"}], "line 13: the picture .*broken.png is broken"),
    "cut picture": ([{"file_name": "cut.png", "text": "x"}], "line 13: the picture .*cut.png is broken"),
    "empty caption": ([{"file_name": "p0.png", "text": " \n"}], "line 13: the caption of 'p0.png' is empty"),
    "dots for a caption": ([{"file_name": "p0.png", "text": "..."}], "line 13: the caption of 'p0.png' is empty"),
    "no caption": ([{"file_name": "p0.png"}], "line 13: the caption of 'p0.png' is not text but None"),
    "number for a caption": (
        [{"file_name": "p0.png", "text": 7}],
        "line 13: the caption of 'p0.png' is not text but 7",
    ),
    "number in a list": ([{"file_name": "p0.png", "text": ["a", 7]}], "line 13: .*'p0.png' is not text but 7"),
    "empty list": ([{"file_name": "p0.png", "text": []}], "line 13: the list of captions of 'p0.png' is empty"),
    "half a character": (['{"file_name": "p0.png", "text": "a\\ud800"}'], "line 13: .*'p0.png' is not text"),
    "absolute path": ([{"file_name": "/etc/passwd", "text": "x"}], "line 13: .*leads out of the folder"),
    "path upwards": ([{"file_name": "a/../../b.png", "text": "x"}], "line 13: .*leads out of the folder"),
    "no file name": ([{"text": "x"}], "line 13: 'file_name' must name a picture, got None"),
    "not JSON": (["{file_name}"], "line 13: not JSON"),
    "not an object": (["[1]"], "line 13: expected a JSON object"),
    "bad group": ([{"file_name": "p0.png", "text": "x", "group": [1]}], "line 13: 'group' must be text or a number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_records_are_named(case: str, tmp_path: Path) -> None:
    records, message = BAD[case]
    path = folder(tmp_path / "f", [*plain(), *records])
    (path / "broken.png").write_text("<html>gone</html>")
    (path / "cut.png").write_bytes((path / "p1.png").read_bytes()[:300])
    with pytest.raises(StageError, match=message) as caught:
        prepare(path)
    assert "\n" not in str(caught.value) and "metadata.jsonl" in str(caught.value)


def test_bad_csv_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", [])
    (path / "metadata.jsonl").unlink()
    for text, message in (
        ("file_name,caption\np0.png,x\n", "line 1: there is no column 'text'"),
        ("file_name,text\np0.png,x,y\n", "line 2: more cells than the header"),
        ("file_name,text\np0.png,x\np1.png,\n", "line 3: the caption of 'p1.png' is empty"),
        ("file_name,text\np0.png\n", "line 2: the caption of 'p0.png' is not text"),
        ('file_name,text\np0.png,"x\n', "line 2: not CSV"),
        ("file_name,text\n", "has no records"),
    ):
        (path / "metadata.csv").write_text(text)
        with pytest.raises(StageError, match=message):
            source(path).write(PreparedWriter(tmp_path, 16))


def test_bad_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin").mkdir()
    (tmp_path / "latin" / "metadata.jsonl").write_bytes(b'\n{"text": "caf\xe9"}\n')
    for path, message in (
        ("", "data.folder.path is empty"),
        (str(tmp_path / "none"), "none is not a folder"),
        (str(tmp_path / "empty"), "holds no pictures with captions: add metadata.jsonl or"),
        (str(tmp_path / "latin"), "line 2: not UTF-8"),
    ):
        with pytest.raises(StageError, match=message):
            source(path).write(PreparedWriter(tmp_path, 16))


def test_too_few_groups_are_named(tmp_path: Path) -> None:
    records = [record | {"group": number % 2} for number, record in enumerate(plain())]
    with pytest.raises(StageError, match=r"metadata.jsonl: 12 pictures in 2 groups cannot fill the splits"):
        prepare(folder(tmp_path / "f", records))
