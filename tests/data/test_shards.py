"""The source `folder` with WebDataset shards."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.config.data import DataConfig, FolderConfig
from stages.data import load_dataset
from stages.data.folder import FolderSource, read_folder
from stages.data.pictures import read_picture
from stages.data.prepared import PreparedWriter
from stages.errors import StageError

Member = tuple[str, bytes | tarfile.TarInfo]


def jpeg(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def shard(path: Path, members: list[Member], mode: Any = "w") -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def samples(first: int, count: int) -> list[Member]:
    members: list[Member] = []
    for number in range(first, first + count):
        members += [(f"{number:06d}.jpg", jpeg(number)), (f"{number:06d}.txt", f"picture {number}".encode())]
    return members


def test_shards_are_read_in_place(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    record = {"caption": ["one", "two"], "group": 7, "split": "test", "width": 20}
    shard(folder / "00000.tar", samples(0, 6))
    shard(folder / "00001.tar", [("sub/a b.jpg", jpeg(6)), ("sub/a b.cls", b"3"), ("sub/a b.txt", b"x\ny"),
        ("__meta__.json", b"?"), ("._junk.jpg", b"?"),
        ("key.json", json.dumps(record).encode()), ("key.JPG", jpeg(7)), ("key.seg.png", b"?"),
        ("z.jpg", jpeg(8)), ("z.json", b'{"text": "zed"}')])  # fmt: skip
    (tmp_path / "out").mkdir()
    config = DataConfig(source="folder", folder=FolderConfig(path=str(folder)))
    FolderSource(config, 0).write(PreparedWriter(tmp_path / "out", 16))
    data = load_dataset(tmp_path / "out")
    assert [(record.file_name, record.caption) for record in data.records[6:]] == [
        ("00001.tar/sub/a b.jpg", "x y"),
        ("00001.tar/key.JPG", "one"),
        ("00001.tar/key.JPG", "two"),
        ("00001.tar/z.jpg", "zed"),
    ]
    assert data.records[7].group == "7" and read_folder(str(folder))[7].captions[0].split == "test"
    for row in range(9):
        assert np.array_equal(data.images[row], read_picture(io.BytesIO(jpeg(row)), 16, "crop", (255, 255, 255)))
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == []  # nothing was unpacked


def link(name: str, target: str, kind: bytes) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


BAD: dict[str, tuple[list[Member], str]] = {
    "upwards": ([("../evil.jpg", jpeg(1)), ("../evil.txt", b"x")], r"a.tar, member ../evil.jpg: .* leads out of"),
    "upwards within": ([("a/../../b.txt", b"x")], r"member a/../../b.txt: .* leads out of"),
    "absolute": ([("/etc/a.jpg", jpeg(1))], r"member /etc/a.jpg: .* leads out of"),
    "symbolic link": ([link("b.jpg", "/etc/passwd", tarfile.SYMTYPE)], r"member b.jpg: a link or device"),
    "hard link": ([link("b.jpg", "000000.jpg", tarfile.LNKTYPE)], r"member b.jpg: a link or device"),
    "no caption": ([("b.jpg", jpeg(1))], r"member b.jpg: has no caption: add b.txt, or b.json with 'text'"),
    "caption far away": ([("b.jpg", jpeg(1)), *samples(4, 1), ("b.txt", b"x")], r"member b.jpg: has no caption"),
    "no picture": ([("b.txt", b"x")], r"member b.txt: there is no picture"),
    "empty caption": ([("b.jpg", jpeg(1)), ("b.txt", b"\n")], r"member b.jpg: the caption of 'b.jpg' is empty"),
    "latin caption": ([("b.jpg", jpeg(1)), ("b.txt", b"caf\xe9")], r"member b.txt: not UTF-8"),
    "broken json": ([("b.jpg", jpeg(1)), ("b.json", b"{")], r"member b.json: not JSON"),
    "json list": ([("b.jpg", jpeg(1)), ("b.json", b"[1]")], r"member b.json: expected a JSON object"),
    "huge caption": ([("b.jpg", jpeg(1)), ("b.txt", b"x" * 1048577)], r"member b.txt: more than 1048576 bytes"),
    "twice": (samples(0, 1), r"member 000000.jpg: is there twice"),
    "broken picture": ([("b.jpg", jpeg(1)[:100]), ("b.txt", b"x")], r"a.tar, member b.jpg: the picture .* is broken"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_members_are_named(case: str, tmp_path: Path) -> None:
    members, message = BAD[case]
    shard(tmp_path / "f" / "a.tar", samples(0, 4) + members)
    config = DataConfig(source="folder", folder=FolderConfig(path=str(tmp_path / "f")))
    with pytest.raises(StageError, match=message) as caught:
        FolderSource(config, 0).write(PreparedWriter(tmp_path, 16))
    assert "\n" not in str(caught.value)


def cut_in_a_picture(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1200])


def cut_in_a_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def cut_between_members(path: Path) -> None:
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2]
    path.write_bytes(path.read_bytes()[: third.offset])


def compress(path: Path) -> None:
    shard(path, samples(0, 4), "w:gz")


def page(path: Path) -> None:
    path.write_text("<html>not found</html>" * 100)


@pytest.mark.parametrize("spoil", [cut_in_a_picture, cut_in_a_header, cut_between_members, compress, page])
def test_broken_shards_are_named(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    spoil(shard(tmp_path / "f" / "a.tar", samples(0, 4)))
    with pytest.raises(StageError, match=r"a.tar: not a whole .tar file") as caught:
        read_folder(str(tmp_path / "f"))
    assert "\n" not in str(caught.value)


def test_shards_and_pictures_do_not_mix(tmp_path: Path) -> None:
    shard(tmp_path / "f" / "a.tar", samples(0, 4))
    (tmp_path / "f" / "b.jpg").write_bytes(jpeg(1))
    with pytest.raises(StageError, match=r"holds shards \(a.tar\) and pictures \(.*b.jpg\)"):
        read_folder(str(tmp_path / "f"))
