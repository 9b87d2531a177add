"""The source `musti` from JSON files to a prepared set, its pictures served by a real server."""

import csv
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from stages.__main__ import main, parse_config
from stages.config.data import DataConfig, SplitsConfig
from stages.config.musti import MustiConfig
from stages.data import PreparedSet, load_dataset
from stages.data.musti import MustiSource
from stages.data.prepared import PreparedWriter
from stages.data.source import digest, open_source
from stages.errors import StageError
from tests.data.musti.server import PictureServer, picture_bytes


def record(url: str, number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": 1000 + number, "image": url, "language": "en", "subtask1_label": "YES", "subtask2_labels": ["fish"],
        "text": f"passage {number}", "title": f"title {number}",
    } | changes  # fmt: skip


def files(tmp_path: Path, config: MustiConfig, train: list[Any], test: list[Any]) -> MustiConfig:
    for name, records in (("train", train), ("test", test)):
        (tmp_path / f"musti-{name}.json").write_text(json.dumps({"pairs": records}))
    train_path, test_path = (str(tmp_path / f"musti-{name}.json") for name in ("train", "test"))
    return dataclasses.replace(config, train=train_path, test=test_path)


def prepare(tmp_path: Path, config: MustiConfig, name: str = "musti") -> PreparedSet:
    directory = tmp_path / f".{name}.partial"
    directory.mkdir()
    splits = SplitsConfig(val_fraction=0.2, test_fraction=0.2)
    data = DataConfig(source="musti", name=name, musti=config, splits=splits)
    open_source(data, 0).write(PreparedWriter(directory, 16))
    return load_dataset(directory)


def pictures(server: PictureServer, count: int) -> list[dict[str, Any]]:
    return [record(server.url(f"/p{number}.png"), number) for number in range(count)]


def test_pairs_become_a_prepared_set(tmp_path: Path, server: PictureServer, config: MustiConfig) -> None:
    from stages.blip.smells import labelled_pairs  # who reads them

    train = pictures(server, 10)
    train.append(record(train[0]["image"], 20, title="title 0", subtask1_label="NO"))  # one title, two texts
    train.append(record(train[0]["image"], 21, title="another title", language="de"))
    test = [record(server.url("/p1.png"), 30, subtask1_label="", title="title 1"), record(server.url("/p50.png"), 50)]
    data = prepare(tmp_path, files(tmp_path, config, train, test))
    assert data.splits == ("train", "val", "test") and len(data.images) == 11
    captions = {number: [r.caption for r in data.records if r.image == number] for number in (0, 1)}
    assert captions == {0: ["title 0", "another title"], 1: ["title 1"]}
    assert [record.id for record in data.records] == list(range(12))
    assert all(len({r.split for r in data.records if r.image == row}) == 1 for row in range(11))
    lines = [json.loads(line) for line in (data.directory / "records.jsonl").read_text().splitlines()]
    first = lines[0]
    assert first["image"].endswith(".png") and len(first["image"]) == 20 and first["title"] == "title 0"
    assert (first["musti_id"], first["text"], first["subtask1_label"]) == (1000, "passage 0", "YES")
    assert first["url"] == train[0]["image"] and lines[1]["language"] == "de"
    pairs = [json.loads(line) for line in (data.directory / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == 14 and {pair["image"] for pair in pairs} == {record.file_name for record in data.records}
    of_first = [(pair["text"], pair["subtask1_label"]) for pair in pairs if pair["image"] == first["image"]]
    assert of_first == [("passage 0", "YES"), ("passage 20", "NO"), ("passage 21", "YES")]
    assert [pair["official_split"] for pair in pairs].count("test") == 2
    labelled = {split: labelled_pairs(data, split) for split in data.splits}
    assert sum(len(found) for found in labelled.values()) == 13  # all but the one without a label
    home = labelled[data.records[0].split]
    assert [(text, label) for text, row, label in zip(home.texts, home.image_rows, home.same_smell, strict=True)
            if row == 0] == [("passage 0", True), ("passage 20", False), ("passage 21", True)]  # fmt: skip
    assert json.loads((data.directory / "dropped.json").read_text()) == {"caption is there already": 2}
    assert (data.directory / "missing.csv").read_text() == "url,host,reason,pairs\n"


def test_dead_pictures_are_left_out_and_told(
    tmp_path: Path, server: PictureServer, config: MustiConfig, caplog: pytest.LogCaptureFixture
) -> None:
    server.pages["/p3.png"] = lambda handler: handler.reply(b"<html>moved</html>", kind="text/html")
    train = [*pictures(server, 10), record(server.url("/gone"), 11, title="nan"), record(server.url("/gone"), 12)]
    train += [record(server.url("/gone"), 13, title="x"), record("ftp://127.0.0.1/a.jpg", 14)]
    config = files(tmp_path, config, train, [record(server.url("/p20.png"), 20)])
    with caplog.at_level(logging.INFO, logger="stages.data"):
        data = prepare(tmp_path, config)
    assert len(data.images) == 10
    with (data.directory / "missing.csv").open() as file:
        missing = list(csv.DictReader(file))
    assert [(row["url"], row["reason"], row["pairs"]) for row in missing] == [
        (server.url("/p3.png"), "HTML page", "1"),
        (server.url("/gone"), "HTTP 404", "2"),
        ("ftp://127.0.0.1/a.jpg", "not http or https", "1"),
    ]
    assert json.loads((data.directory / "dropped.json").read_text()) == {"no title": 1, "picture missing": 4}
    assert "3 of 13 pictures are missing (23%), which costs 4 of the pairs" in caplog.text
    assert str(tmp_path / "musti" / "missing.csv") in caplog.text
    assert "1 pair not used: no title" in caplog.text
    row = next(line for line in caplog.text.splitlines() if line.startswith("  127.0.0.1"))
    assert row.split()[1:4] == ["10", "0", "3"] and all(f"{row['reason']}: 1" in caplog.text for row in missing)
    asked = server.requests["/gone"]
    again = prepare(tmp_path, config, "again")
    assert len(again.images) == 10 and server.requests["/p1.png"] == 1
    assert server.requests["/gone"] == asked + 1, "a completed run does not hold a dead link against it for ever"


def test_too_many_missing_pictures_stop_the_stage(tmp_path: Path, server: PictureServer, config: MustiConfig) -> None:
    train = [*pictures(server, 6), *(record(server.url(f"/gone{number}"), number) for number in range(4))]
    config = dataclasses.replace(files(tmp_path, config, train, pictures(server, 1)), max_missing=0.3)
    with pytest.raises(StageError, match=r"4 of 10 pictures are missing \(40%\), more than data.musti.max_missing 0.3"):
        prepare(tmp_path, config)
    listed = (Path(config.cache) / "missing.csv").read_text()
    assert listed.count("HTTP 404") == 4
    before = server.requests.total()
    data = prepare(tmp_path, dataclasses.replace(config, max_missing=0.4), "more")
    assert len(data.images) == 6 and server.requests.total() == before, "nothing was asked for again"


def test_no_picture_at_all_is_an_error(tmp_path: Path, server: PictureServer, config: MustiConfig) -> None:
    config = files(tmp_path, config, [record(server.url("/gone"), 1)], [record(server.url("/gone"), 2)])
    with pytest.raises(StageError, match=r"no picture could be fetched, see .*missing.csv"):
        prepare(tmp_path, config)
    asked = server.requests.total()
    with pytest.raises(StageError, match="no picture could be fetched"):
        prepare(tmp_path, config, "again")
    assert server.requests.total() == 2 * asked  # the network may be there now


def test_what_cannot_be_used_is_named(tmp_path: Path, server: PictureServer, config: MustiConfig) -> None:
    good = files(tmp_path, config, pictures(server, 3), pictures(server, 3))
    own = f"{tmp_path}/elsewhere/../own3"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"train": "", "test": ""}, "data.musti.train is empty"),
        ({"train": "none.json"}, "data.musti.train: there is no file none.json"),
        ({"languages": ("fr",)}, "data.musti.languages: none of the 6 pairs is in fr"),
        ({"cache": own}, "data.musti.cache: .* is in the prepared set's own folder"),
        ({"cache": good.train}, "data.musti.cache: .* is not a folder"),
    ]
    for number, (changes, message) in enumerate(cases):
        with pytest.raises(StageError, match=message):
            prepare(tmp_path, dataclasses.replace(good, **changes), f"own{number}")
    assert not server.requests
    without = files(tmp_path, config, [record(server.url("/p1.png"), 1, subtask1_label="NO")], [])
    with pytest.raises(StageError, match=r"data.musti.caption: none of the 1 pairs has a text that may be used"):
        prepare(tmp_path, dataclasses.replace(without, test="", caption="text"), "captions")


def test_too_few_pictures_are_named(tmp_path: Path, server: PictureServer, config: MustiConfig) -> None:
    config = files(tmp_path, config, pictures(server, 2), pictures(server, 1))
    with pytest.raises(StageError, match=r"musti-train.json: 2 pictures in 2 groups cannot fill the splits"):
        prepare(tmp_path, config)


def test_official_splits_keep_a_pair_that_is_in_both_files_and_say_what_they_share(
    tmp_path: Path, server: PictureServer, config: MustiConfig
) -> None:
    config = files(tmp_path, config, pictures(server, 6), pictures(server, 2))
    source = MustiSource(DataConfig(source="musti", musti=config, splits=SplitsConfig(official=True)), 0)
    (tmp_path / "set").mkdir()
    source.write(PreparedWriter(tmp_path / "set", 16))
    data = load_dataset(tmp_path / "set")
    assert [record.caption for record in data.records].count("title 1") == 2
    assert (len(data.images), len(data.records)) == (6, 8)
    assert {record.caption for record in data.records if record.split == "test"} == {"title 0", "title 1"}
    overlap = json.loads((tmp_path / "set" / "splits.json").read_text())["overlap"]["test"]
    assert "2 of 2 test pairs show a picture that is also in train" in overlap["words"]


def test_the_digest_is_that_of_the_files(tmp_path: Path, config: MustiConfig) -> None:
    config = files(tmp_path, config, [1], [2])
    data = DataConfig(source="musti", musti=config)
    first = digest(data)
    Path(config.train).touch()
    assert digest(data) == first is not None
    files(tmp_path, config, [2], [1])
    assert digest(data) not in (first, None)
    Path(config.test).unlink()
    assert digest(data) is None
    assert digest(dataclasses.replace(data, musti=dataclasses.replace(config, test=""))) is not None


def test_the_stage_runs_from_the_shipped_config(
    tmp_path: Path, server: PictureServer, config: MustiConfig, caplog: pytest.LogCaptureFixture
) -> None:
    musti = files(tmp_path, config, pictures(server, 12), [record(server.url("/gone"), 1)])
    options = ["--config", "configs/musti.yaml", "--datasets", str(tmp_path / "data"), "--checkpoints", str(tmp_path)]
    for name in ("train", "test", "cache"):
        options += [f"--data.musti.{name}", getattr(musti, name)]
    options += ["--data.musti.languages", "[en,it]", "--data.musti.allow_private_addresses", "true"]
    parsed = parse_config("data", options).data.musti
    assert parsed.languages == ("en", "it") and parsed.caption == "title"
    assert main(["data", *options]) == 0
    assert load_dataset(tmp_path / "data" / "musti").images.shape == (12, 128, 128, 3)
    with caplog.at_level(logging.INFO, logger="stages"):
        assert main(["data", *options]) == 0
    assert "data: up to date" in caplog.text
    assert (Path(musti.cache) / ".lock").is_file() and server.requests["/p1.png"] == 1
    assert any(path.read_bytes() == picture_bytes(7) for path in Path(musti.cache).glob("*.png"))
