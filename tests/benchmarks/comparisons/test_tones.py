"""The colour check of held-out skin tones: what it reads, what is held out, and that it is not in training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from benchmarks.comparisons.palette import TONES, Palette
from benchmarks.comparisons.tones import Caption, compare, hold_out, main, read_caption, table, train_without
from stages.__main__ import parse_config
from stages.config.data import DataConfig, FolderConfig, PicturesConfig
from stages.data import Record, load_dataset, to_tensor
from stages.data.folder import FolderSource
from stages.data.prepared import PreparedWriter
from stages.errors import StageError
from stages.workspace import Workspace

COLOURS = dict(
    zip(TONES, [(252, 220, 188), (224, 187, 149), (191, 143, 104), (155, 100, 61), (89, 69, 57)], strict=True)
)
EMOJI = Path(__file__).parents[4] / "shared" / "data" / "emoji"


def gesture(number: int, tone: str) -> np.ndarray:
    """(32,32,3) a black outline on white, filled with the tone's colour; the shape is the gesture's."""
    picture = np.full((32, 32, 3), 255, np.uint8)
    boxes = np.random.default_rng(number).integers(4, 14, (3, 4))
    for border, colour in ((1, 0), (0, COLOURS[tone])):
        for x, y, width, height in boxes:
            picture[y - border : y + height + border, x - border : x + width + border] = colour
    return picture


def all_of(tone: str) -> np.ndarray:
    return np.stack([gesture(number, tone) for number in range(8)])


@pytest.fixture
def palette() -> Palette:
    return Palette([all_of(tone) for tone in TONES])


@pytest.mark.parametrize(
    ("caption", "gesture", "tone"),
    [
        ("waving hand, dark skin tone", "waving hand", "dark"),
        ("waving hand, medium-dark skin tone", "waving hand", "medium-dark"),
        ("man, red hair, light skin tone", "man, red hair", "light"),
        ("handshake, light skin tone, dark skin tone", "handshake, light skin tone, dark skin tone", None),
        ("waving hand, blue skin tone", "waving hand, blue skin tone", None),
        ("a boat, dark", "a boat, dark", None),
        ("dark skin tone", "dark skin tone", None),
    ],
)
def test_a_caption_says_a_gesture_and_its_tone(caption: str, gesture: str, tone: str | None) -> None:
    assert read_caption(caption) == Caption(gesture, tone)


@pytest.mark.parametrize("tone", TONES)
def test_the_check_reads_each_tone_of_shapes_it_has_not_seen(palette: Palette, tone: str) -> None:
    unseen = np.stack([gesture(number, tone) for number in range(100, 110)])
    assert palette.read(unseen) == [tone] * len(unseen)
    blotchy = np.clip(unseen + np.random.default_rng(0).normal(0, 6, unseen.shape), 0, 255).astype(np.uint8)
    assert palette.read(blotchy) == [tone] * len(unseen)


def test_colours_that_are_no_colours_of_tones_are_refused() -> None:
    on_black = [np.where(all_of(tone) == 255, 0, all_of(tone)) for tone in TONES]
    with pytest.raises(StageError, match="is the background white"):
        Palette(on_black)


def test_a_picture_without_skin_has_no_tone(palette: Palette) -> None:
    white, blue = np.full((1, 32, 32, 3), 255, np.uint8), np.full((1, 32, 32, 3), (0, 0, 255), np.uint8)
    assert palette.read(white) == palette.read(blue) == [None]


def record(number: int, caption: str) -> Record:
    return Record(number, number, caption, f"{number}.png", "train", "", None)


def test_half_of_the_gestures_that_are_shown_in_all_tones_lose_one() -> None:
    captions = [f"gesture {i}, {tone} skin tone" for i in range(9) for tone in TONES]
    captions += [f"partly {i}, {tone} skin tone" for i in range(9) for tone in TONES[1:]] + ["a boat"]
    records = [record(*numbered) for numbered in enumerate(captions)]
    held = hold_out(records, "light", seed=0)
    assert len(held) == 4 == len({each.file_name for each in held})
    assert all(each.caption.startswith("gesture") and read_caption(each.caption).tone == "light" for each in held)
    assert held == hold_out(records, "light", seed=0) != hold_out(records, "light", seed=1)
    twice = hold_out([*records, *(record(100 + each.id, each.caption) for each in records)], "light", seed=0)
    assert sorted(each.id for each in twice) == sorted(i for each in held for i in (each.id, 100 + each.id))
    with pytest.raises(StageError, match="no two gestures are shown in all five tones"):
        hold_out(records[-10:], "light", seed=0)


@pytest.fixture(scope="module")
def options(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a run on 12 gestures in all tones and without one, with a few steps for each stage."""
    folder = tmp_path_factory.mktemp("tones")
    (folder / "emoji").mkdir()
    lines = []
    for number in range(12):
        for tone in (*TONES, ""):
            name, ending = f"{number}-{tone or 'none'}.png", f", {tone} skin tone" if tone else ""
            Image.fromarray(gesture(number, tone or "medium")).save(folder / "emoji" / name)
            lines.append({"file_name": name, "text": f"gesture {number}{ending}", "group": str(number)})
    (folder / "emoji" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folders = ["--checkpoints", str(folder / "checkpoints"), "--datasets", str(folder / "data")]
    source = ["--data.source", "folder", "--data.folder.path", str(folder / "emoji")]
    return ["--config", str(tiny_run), *folders, *source, "--data.splits.near_duplicate_bits", "0"]


@pytest.fixture(scope="module")
def sibling(options: list[str]) -> Workspace:
    return train_without("dark", options)


def test_what_is_held_out_is_not_trained_on(sibling: Workspace, options: list[str]) -> None:
    assert sibling.config.run == "tiny-without-dark"
    assert sibling.why_stale("prior") is None
    dataset = load_dataset(sibling.directory("data"))
    held, train = ({read_caption(each) for each in dataset.split(name).captions} for name in ("test", "train"))
    assert len(held) == 6 and {each.tone for each in held} == {"dark"} and not held & train
    assert len({each.gesture for each in held} & {each.gesture for each in train}) >= 4
    own = Workspace(parse_config("data", options))
    assert not own.directory("data").exists()  # the run's own set is as it was


def test_what_is_painted_is_read(sibling: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a painter that knows what it does: of four pictures one is light, and without a tone all are medium."""

    def paint(captions: list[str], *, seed: int) -> Tensor:
        wanted = [read_caption(caption) for caption in captions]
        tones = ["light" if place % 4 == 1 else each.tone or "medium" for place, each in enumerate(wanted)]
        return to_tensor(
            np.stack([gesture(int(g.split()[-1]), tone) for (g, _), tone in zip(wanted, tones, strict=True)])
        )

    monkeypatch.setattr("benchmarks.comparisons.tones.load_text_to_image", lambda run: paint)
    figures = compare(sibling, "dark")
    dataset = load_dataset(sibling.directory("data"))
    train = {read_caption(caption) for caption in dataset.split("train").captions}
    known = {read_caption(caption).gesture for caption in dataset.split("test").captions} & {
        one.gesture for one in train
    }
    found = {name: (figure["value"], figure["n"]) for name, figure in figures.items()}
    unseen = {name: found.pop(name) for name in list(found) if "never seen" in name}
    reconstructed = found.pop("reconstructed, held out")
    assert reconstructed[0] < 1 == len(known) / reconstructed[1]  # by three steps of training
    assert found == {
        "real, held out": (1, len(known)),
        "painted, held out": (0.75, len(known)),
        "painted, trained": (0.75, sum(one.tone == "dark" for one in train)),
        "real, held-out gestures in other tones": (0, 4 * len(known)),
        "real, held-out gestures without a tone": (0, len(known)),
        "painted, held-out gestures without a tone": (0, len(known)),
    }
    val = {read_caption(caption) for caption in dataset.split("val").captions}
    tones = {one.tone for one in val if one.tone}
    assert {"light", "medium"} <= tones and len(unseen) == 2 * len(tones)
    for tone in tones:
        assert unseen[f"real, gestures never seen, {tone}"][0] == 1
        assert unseen[f"painted, gestures never seen, {tone}"][0] == (1 if tone == "light" else 0.75)
    lines = table(figures, "dark").splitlines()
    assert len(lines) == 2 + len(figures)
    assert f"| painted, held out | 75.0 % | none | none | {len(known)} |" in lines  # three of four for each caption
    assert figures["real, held out"]["ci95"][1] == 1 and "Clopper" in figures["real, held out"]["protocol"]
    grid = np.asarray(Image.open(sibling.root / "tones.png"))
    assert (
        grid.shape[1] == 4 * 168 + 8 and (np.abs(grid[30:180, 30:120].astype(int) - COLOURS["dark"]).sum(-1) < 30).any()
    )


def test_the_command_says_what_it_painted(
    sibling: Workspace, options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setattr("benchmarks.comparisons.tones.keep_results", lambda name, results: kept.update({name: results}))
    made = (sibling.directory("prior") / "manifest.json").stat().st_ino
    assert main(options) == 0
    assert made == (sibling.directory("prior") / "manifest.json").stat().st_ino
    assert f"what was painted: {sibling.root / 'tones.png'}" in capsys.readouterr().out
    assert kept["tones"]["tone"] == "dark" and kept["tones"]["run"] == "tiny-without-dark"
    assert kept["tones"]["figures"]["painted, held out"]["n"] >= 4


def test_what_cannot_be_compared_is_said_before_training(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    few = [f"--data.scenes.{split}=6" for split in ("train", "val", "test", "compositions")]
    assert main([*options, "--data.source", "scenes", *few]) == 2
    assert "error: no two gestures are shown in all five tones" in capsys.readouterr().err


def test_the_check_reads_real_emoji(tmp_path: Path) -> None:
    if not EMOJI.is_dir():
        pytest.skip("the captioned emoji are not on this machine")
    writer = PreparedWriter(tmp_path, 64)
    config = DataConfig(source="folder", folder=FolderConfig(str(EMOJI)), pictures=PicturesConfig(resize="pad"))
    FolderSource(config, seed=0).write(writer)
    dataset = load_dataset(tmp_path)

    def of(split: str, tone: str) -> np.ndarray:
        records = [each for each in dataset.split(split).records if read_caption(each.caption).tone == tone]
        return dataset.images[[each.image for each in records]]

    palette = Palette([of("train", tone) for tone in TONES])
    right = {
        tone: [found == tone for split in ("val", "test") for found in palette.read(of(split, tone))] for tone in TONES
    }
    assert all(len(found) > 20 for found in right.values())
    assert np.mean([one for found in right.values() for one in found]) > 0.85
    assert all(np.mean(found) > 0.7 for found in right.values())  # a fifth is chance; medium is the hardest
