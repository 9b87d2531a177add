"""The colour check of held-out skin tones: what it reads, what is held out, and that it is not in training."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.tones import TONES, Caption, Palette, compare, hold_out, read_caption, table, train_without
from stages.config.data import DataConfig, FolderConfig, PicturesConfig
from stages.data import Record, load_dataset
from stages.data.folder import FolderSource
from stages.data.prepared import PreparedWriter
from stages.errors import StageError

COLOURS = dict(
    zip(TONES, [(252, 220, 188), (224, 187, 149), (191, 143, 104), (155, 100, 61), (89, 69, 57)], strict=True)
)
EMOJI = Path(__file__).parents[3] / "shared" / "data" / "emoji"
TINY = """
checkpoints: {folder}/checkpoints
datasets: {folder}/data
data:
  {{name: tiny, source: folder, image_size: 32, folder: {{path: {folder}/emoji}}, splits: {{near_duplicate_bits: 0}}}}
blip: {{max_steps: 2, batch_size: 8, vision_width: 32, vision_layers: 1, text_width: 32, text_layers: 1}}
vqvae: {{channels: 16, residual_channels: 8, embedding_dim: 8, codebook_size: 16, max_steps: 3, batch_size: 16}}
prior:
  top: {{channels: 16, residual_channels: 16, blocks: 1, heads: 2, max_steps: 2, batch_size: 8}}
  bottom: {{channels: 16, residual_channels: 16, blocks: 1, heads: 2, context_blocks: 1, max_steps: 2, batch_size: 8}}
"""


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
    with pytest.raises(StageError, match="no two gestures are shown in all five tones"):
        hold_out(records[-10:], "light", seed=0)


def test_the_held_out_are_not_trained_on_and_everything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "emoji").mkdir()
    lines = []
    for number in range(12):
        for tone in TONES:
            name = f"{number}-{tone}.png"
            Image.fromarray(gesture(number, tone)).save(tmp_path / "emoji" / name)
            lines.append({"file_name": name, "text": f"gesture {number}, {tone} skin tone", "group": str(number)})
    (tmp_path / "emoji" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.format(folder=tmp_path))
    run, held = train_without("medium", ["--config", str(config)])
    assert run.config.run == "tiny-without-medium" and len(held) == 6
    dataset = load_dataset(run.directory("data"))
    assert sorted(dataset.split("test").captions) == sorted(held)
    train = {read_caption(caption) for caption in dataset.split("train").captions}
    assert not train & {read_caption(caption) for caption in held}
    figures = compare(run, "medium", held)
    assert figures["real, held out"]["value"] == 1 and figures["real, held out"]["n"] == 6
    captions_of = {name: found["n"] for name, found in figures.items()}
    unseen = {read_caption(caption).gesture for caption in held} - {gesture for gesture, _ in train}
    assert captions_of["painted, held out"] == 6 - len(unseen)
    assert captions_of["painted, trained"] == sum(tone == "medium" for _, tone in train)
    assert len(table(figures).splitlines()) == 2 + len(figures)
    assert (run.root / "tones.png").is_file()


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
    right = [found == tone for tone in TONES for found in palette.read(of("test", tone))]
    assert len(right) > 50 and np.mean(right) > 0.85
