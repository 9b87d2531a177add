"""Splits that do not leak: duplicates on one side, official splits kept and measured, lists of file names."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from stages.config.data import DataConfig, FolderConfig, SplitsConfig
from stages.data import PreparedSet, load_dataset
from stages.data.folder import FolderSource
from stages.data.prepared import PreparedWriter
from stages.errors import StageError

Made = tuple[PreparedSet, dict[str, Any]]


def picture(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).filter(ImageFilter.BoxBlur(2))


def folder(path: Path, records: list[dict[str, Any]], copies: dict[str, int] | None = None) -> Path:
    """p00.png to p19.png, all different; and JPEG copies: name -> number of the picture."""
    path.mkdir()
    for number in range(20):
        picture(number).save(path / f"p{number:02d}.png")
    for name, number in (copies or {}).items():
        picture(number).save(path / name, quality=70)
    lines = [json.dumps({"text": "x"} | record) for record in records]
    (path / "metadata.jsonl").write_text("\n".join(lines))
    return path


def plain(**fields: Any) -> list[dict[str, Any]]:
    return [{"file_name": f"p{number:02d}.png"} | fields for number in range(20)]


def prepare(path: Path, **splits: Any) -> Made:
    out = path.parent / f"{path.name}.prepared"
    out.mkdir()
    config = DataConfig(source="folder", folder=FolderConfig(path=str(path)), splits=SplitsConfig(**splits))
    FolderSource(config, 0).write(PreparedWriter(out, 32))
    return load_dataset(out), json.loads((out / "splits.json").read_text())


def names(data: PreparedSet, split: str) -> list[str]:
    return sorted({record.file_name for record in data.split(split).records})


def test_near_duplicates_stay_on_one_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copies = {f"c{number:02d}.jpg": number for number in range(20)}
    records = plain() + [{"file_name": name} for name in copies]
    with caplog.at_level(logging.INFO, "stages.data"):
        data, facts = prepare(folder(tmp_path / "f", records, copies), val_fraction=0.3, test_fraction=0.3)
    splits = {record.file_name: record.split for record in data.records}
    assert all(splits[name] == splits[f"p{number:02d}.png"] for name, number in copies.items())
    assert set(splits.values()) == {"train", "val", "test"}
    assert (facts["exact_duplicates"], facts["near_duplicates"], facts["official"]) == (0, 20, False)
    assert facts["overlap"]["test"]["words"] == "none of 12 test pairs shows a picture that is also in train"
    assert "learnt from" not in caplog.text
    assert "duplicates: 0 exact, 20 near; each put on one side" in caplog.text


def test_near_duplicates_need_not_be_looked_for(tmp_path: Path) -> None:
    copies = {f"c{number:02d}.jpg": number for number in range(20)}
    records = plain() + [{"file_name": name} for name in copies]
    data, facts = prepare(
        folder(tmp_path / "f", records, copies), val_fraction=0.3, test_fraction=0.3, near_duplicate_bits=0
    )
    splits = {record.file_name: record.split for record in data.records}
    assert any(splits[name] != splits[f"p{number:02d}.png"] for name, number in copies.items())
    assert facts["near_duplicates"] is None and facts["overlap"]["val"]["near"] is None
    assert "near duplicates not looked for" in facts["overlap"]["val"]["words"]


def official() -> list[dict[str, Any]]:
    """Test pairs: two of a picture in train, one of a copy, one of a copy saved again, one of a group, one alone."""
    records = [record | {"split": "train"} for record in plain()[:16]] + [
        {"file_name": "p00.png", "split": "test"},
        {"file_name": "p00.png", "split": "test", "text": "y"},
        {"file_name": "copy.png", "split": "test"},
        {"file_name": "near.jpg", "split": "test"},
        {"file_name": "p18.png", "split": "test", "group": "g"},
        {"file_name": "p19.png", "split": "test"},
    ]
    records[3]["group"] = "g"
    return records


def test_official_splits_are_kept_and_measured(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder(tmp_path / "f", official(), {"near.jpg": 2})
    picture(1).save(path / "copy.png", compress_level=1)
    with caplog.at_level(logging.INFO, "stages.data"):
        data, facts = prepare(path, official=True, val_fraction=0.25)
    test = data.split("test")
    assert [record.file_name for record in test.records] == [record["file_name"] for record in official()[16:]]
    learnt, checked = names(data, "train"), names(data, "val")
    assert sorted(learnt + checked) == [f"p{number:02d}.png" for number in range(16)] and len(checked) == 3
    assert not set(checked) & {"p00.png", "p01.png", "p02.png", "p03.png"}  # what test shows is not validated on
    words = "4 of 6 test pairs show a picture that is also in train (3 exactly, 1 nearly); 1 more show another picture"
    overlap = facts["overlap"]["test"]
    assert overlap["words"].startswith(words) and words in caplog.text
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "data: figures on 'test' are partly figures on pictures that were learnt from" in warned
    assert {kind: overlap[kind] for kind in ("pairs", "exact", "near", "group")} == {
        "pairs": 6, "exact": 3, "near": 1, "group": 1,
    }  # fmt: skip
    assert facts["official"] is True and facts["overlap"]["val"]["exact"] == 0
    assert (facts["exact_duplicates"], facts["near_duplicates"]) == (1, 1)


def test_an_official_validation_split_is_kept(tmp_path: Path) -> None:
    records = plain(split="train")
    for number, name in ((0, "validation"), (1, "val"), (2, "dev"), (3, "test")):
        records[number]["split"] = name
    data, _ = prepare(folder(tmp_path / "f", records), official=True)
    assert names(data, "val") == ["p00.png", "p01.png", "p02.png"] and names(data, "test") == ["p03.png"]


def test_official_splits_in_csv_are_read(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", [])
    (path / "metadata.jsonl").unlink()
    rows = [f"p{number:02d}.png,x,{'test' if number < 4 else 'train'}" for number in range(20)]
    (path / "metadata.csv").write_text("file_name,text,split\n" + "\n".join(rows))
    assert len(prepare(path, official=True)[0].split("test")) == 4


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (None, r"line 20: p19.png has no split, but data.splits.official is true"),
        ("eval", r"line 20: p19.png has the split 'eval', but"),
        ("train", r"data.splits.official: no pair has the split 'test'"),
        (["test"], r"line 20: 'split' must be text or a number"),
    ],
)
def test_bad_official_splits_are_named(split: Any, message: str, tmp_path: Path) -> None:
    records = plain(split="train")
    records[19]["split"] = split
    with pytest.raises(StageError, match=message):
        prepare(folder(tmp_path / "f", records), official=True)


def test_a_list_is_exactly_the_test_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [*plain(), {"file_name": "near.jpg"}, {"file_name": "copy.png"}]
    records[7]["group"] = records[8]["group"] = "g"
    path = folder(tmp_path / "f", records, {"near.jpg": 3})
    picture(4).save(path / "copy.png", compress_level=1)
    (tmp_path / "test.txt").write_text("\ufeffp03.png\r\n\n./p04.png \np07.png\np09.png\n", encoding="utf-8")
    with caplog.at_level(logging.INFO, "stages.data"):
        data, facts = prepare(path, test_list=str(tmp_path / "test.txt"))
    assert names(data, "test") == ["p03.png", "p04.png", "p07.png", "p09.png"]
    assert names(data, "aside") == ["copy.png", "near.jpg", "p08.png"] and facts["set_aside"] == 3
    assert "3 pictures set aside: they belong together with pictures listed for test" in caplog.text
    assert len(names(data, "val")) == 2 and len(names(data, "train")) == 13
    assert facts["overlap"]["test"]["words"] == "none of 4 test pairs shows a picture that is also in train"
    assert facts["rule"] == "by group, test_list"


def test_a_list_may_hold_out_a_part_of_a_group_but_no_duplicate(tmp_path: Path) -> None:
    records = [*plain(), {"file_name": "copy.png", "group": "g"}, {"file_name": "near.jpg"}]
    for number in (3, 7, 8):
        records[number]["group"] = "g"
    path = folder(tmp_path / "f", records, {"near.jpg": 3})
    picture(3).save(path / "copy.png", compress_level=1)
    (tmp_path / "test.txt").write_text("p03.png")
    (tmp_path / "val.txt").write_text("p05.png")
    lists = {split: str(tmp_path / f"{split.removesuffix('_list')}.txt") for split in ("test_list", "val_list")}
    data, facts = prepare(path, lists_take_groups=False, **lists)
    assert names(data, "test") == ["p03.png"] and names(data, "aside") == ["copy.png", "near.jpg"]
    assert {"p07.png", "p08.png"} <= set(names(data, "train"))
    assert facts["overlap"]["test"]["group"] == 1 and facts["overlap"]["test"]["near"] == 0


def test_both_splits_may_be_listed(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("p03.png")
    (tmp_path / "val.txt").write_text("p05.png\np06.png")
    data, _ = prepare(
        folder(tmp_path / "f", plain()), test_list=str(tmp_path / "test.txt"), val_list=str(tmp_path / "val.txt")
    )
    assert names(data, "test") == ["p03.png"] and names(data, "val") == ["p05.png", "p06.png"]
    assert len(names(data, "train")) == 17 and data.splits == ("train", "val", "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"p01.png\n\nnone.png\n", r"test.txt, line 3: there is no picture 'none.png' in the set"),
        (b"\n", r"test.txt names no picture"),
        (b"caf\xe9.png", r"test.txt cannot be read \(not UTF-8 text\)"),
        (None, r"test.txt cannot be read \(No such file"),
        (b"p05.png", r"val.txt, line 1: p05.png is in .*test.txt too"),
    ],
)
def test_bad_lists_are_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "test.txt").write_bytes(content)
    (tmp_path / "val.txt").write_text("p05.png")
    path = folder(tmp_path / "f", plain())
    with pytest.raises(StageError, match=message):
        prepare(path, test_list=str(tmp_path / "test.txt"), val_list=str(tmp_path / "val.txt"))


def test_a_group_that_swallows_the_set_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [record | {"group": "all"} if number < 15 else record for number, record in enumerate(plain())]
    prepare(folder(tmp_path / "f", records))
    assert "15 of 20 pictures are one group (all)" in caplog.text
