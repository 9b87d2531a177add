"""A combination that was never seen: one skin tone, held out of half of the gestures that a set of emoji shows.

`make compare-tones CONFIG=configs/folder.yaml ARGS="--data.folder.path emoji --data.name emoji --run emoji"`, with
`--tone light` for another tone than `dark`, and `--seed 1` for other halves and another training. Captions end as
Unicode's names do: "waving hand, dark skin tone". A sibling of the run, such as `emoji-without-dark`, is trained
without these pictures; then what it paints for their captions is read by the colour check, and beside it: real
pictures, their reconstructions, the tone where it was trained, and the same captions without a tone.

The colour check: a tone's colour is the commonest of its training pictures' commonest colours, white left out. Of a
picture's pixels that are within `NEAR` of a tone's colour, most are nearest to its tone.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.record import keep_results
from benchmarks.siblings import run_stage
from stages.__main__ import parse_config
from stages.blip import load_blip
from stages.data import PreparedSet, Record, load_dataset, to_tensor, to_uint8
from stages.errors import StageError
from stages.markdown import markdown_table
from stages.metrics.bootstrap import Resampling, mean_metric
from stages.samples import load_text_to_image
from stages.samples.grid import labelled_grid
from stages.vqvae import load_vqvae
from stages.workspace import Workspace

TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
STAGES = ("data", "blip", "vqvae", "codes", "prior")
PICTURES, IN_GRID = 4, 24
CELL, NEAR, WHITE = 8, 60.0, 235
"""Levels of 256 that count as one colour; Euclidean distance in RGB; from which level of all three on it is paper."""
Pictures = NDArray[np.uint8]


class Caption(NamedTuple):
    """What a caption says of a gesture."""

    gesture: str
    tone: str | None
    """None: it names none, or those of several people."""


class Palette:
    """The colour check.

    Args:
        pictures: (n,H,W,3) uint8 of each tone, in the order of `TONES`.
    """

    def __init__(self, pictures: Sequence[Pictures]) -> None:
        self.colours = np.array([_commonest(map(_commonest_colour, of_tone)) for of_tone in pictures], np.float64)

    def read(self, pictures: Pictures) -> list[str | None]:
        """The tone of each picture of (n,H,W,3) uint8; None where nothing is near any tone's colour."""
        return [self._read_one(picture) for picture in pictures]

    def _read_one(self, picture: Pictures) -> str | None:
        distances = np.linalg.norm(_drawn(picture)[:, None] - self.colours, axis=2)
        near = distances.argmin(axis=1)[distances.min(axis=1) < NEAR]
        return TONES[np.bincount(near).argmax()] if len(near) else None


def main(options: list[str]) -> int:
    """Trains what is not trained yet, prints the table, writes `benchmarks/results/tones.json` and a grid."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tones", description="and any option of a stage")
    parser.add_argument("--tone", choices=TONES, default="dark", help="which is held out")
    own, options = parser.parse_known_args(options)
    try:
        sibling, held = train_without(own.tone, options)
        figures = compare(sibling, own.tone, held)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(table(figures))
    keep_results("tones", {"tone": own.tone, "run": sibling.config.run, "held_out": held, "figures": figures})
    return 0


def read_caption(caption: str) -> Caption:
    """ "waving hand, dark skin tone" -> ("waving hand", "dark")."""
    gesture, _, ending = caption.rpartition(", ")
    tone = ending.removesuffix(" skin tone")
    known = gesture and ending != tone and tone in TONES and " skin tone" not in gesture
    return Caption(gesture, tone) if known else Caption(caption, None)


def train_without(tone: str, options: list[str]) -> tuple[Workspace, list[str]]:
    """The sibling of the run, trained to the prior, and the captions that were held out of its training.

    Args:
        options: as of a stage, such as `--config configs/folder.yaml`.

    Raises:
        StageError: no gesture is shown in all tones.
        SystemExit: a stage could not be run, and has said why.
    """
    own = run_stage("data", options)
    held = hold_out(load_dataset(own.directory("data")).records, tone, own.config.seed)
    listed = own.root.with_name(f"{own.config.run}-without-{tone}.txt")
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(f"{record.file_name}\n" for record in held))
    options = [
        *options,
        "--run",
        f"{own.config.run}-without-{tone}",
        "--data.name",
        f"{own.config.data.name}-without-{tone}",
    ]
    options += ["--data.splits.test_list", str(listed), "--data.splits.lists_take_groups", "false"]
    for stage in STAGES:
        run_stage(stage, options)
    return Workspace(parse_config("samples", options)), [record.caption for record in held]


def hold_out(records: list[Record], tone: str, seed: int) -> list[Record]:
    """The pictures of a tone of half of the gestures that are shown in all tones, drawn by the seed."""
    shown: dict[str, dict[str, Record]] = {}
    for record in records:
        gesture, of_tone = read_caption(record.caption)
        if of_tone is not None:
            shown.setdefault(gesture, {})[of_tone] = record
    whole = sorted(gesture for gesture, tones in shown.items() if len(tones) == len(TONES))
    if len(whole) < 2:
        raise StageError(
            'no two gestures are shown in all five tones: captions must end as in "waving hand, dark skin tone"'
        )
    drawn = np.random.default_rng(seed).permutation(len(whole))[: len(whole) // 2]
    return [shown[whole[i]][tone] for i in sorted(drawn)]


def compare(run: Workspace, tone: str, held: list[str]) -> dict[str, Any]:
    """What the check reads in what the run paints and in what is real: figures by what was read."""
    dataset = load_dataset(run.require("data"))
    train = dataset.split("train").records
    trained = [record.caption for record in train if read_caption(record.caption).tone == tone]
    gestures = {read_caption(record.caption).gesture for record in train}
    known = [caption for caption in held if read_caption(caption).gesture in gestures]  # the others lost all to val
    palette = Palette([_trained_pictures(dataset, each) for each in TONES])
    paint = load_text_to_image(run)

    def painted(captions: list[str]) -> Pictures:
        return to_uint8(paint([caption for caption in captions for _ in range(PICTURES)], seed=run.config.seed))

    drawn = painted(known)
    _write_grid(drawn, known, run.root / "tones.png")
    real = _pictures_of(dataset, dataset.split("test").records, tone)
    val = dataset.split("val").records
    figures = {
        "real, held out": _share(palette.read(real), tone, len(real)),
        "reconstructed, held out": _share(palette.read(_reconstruct(run, real)), tone, len(real)),
        "painted, held out": _share(palette.read(drawn), tone, len(known)),
        "painted, trained": _share(palette.read(painted(trained)), tone, len(trained)),
        "painted, held out, no tone in the caption": _share(
            palette.read(painted([read_caption(caption).gesture for caption in known])), tone, len(known)
        ),
    }
    for each in TONES:
        unseen = [record.caption for record in val if read_caption(record.caption).tone == each]
        if unseen:
            name = f"painted, gestures never seen, {each}"
            figures[name] = _share(palette.read(painted(unseen)), each, len(unseen))
    return figures


def table(figures: dict[str, Any]) -> str:
    """A row for each of what was read, in Markdown."""
    rows = [
        [
            name,
            f"{100 * found['value']:.1f} %",
            " to ".join(f"{100 * end:.0f}" for end in found["ci95"]),
            str(found["n"]),
        ]
        for name, found in figures.items()
    ]
    return markdown_table(["pictures", "of the tone by the colour check", "95 %", "captions"], rows)


def _share(read: list[str | None], tone: str, captions: int) -> dict[str, Any]:
    """Of the pictures of each caption, the share of the tone, averaged."""
    values = np.array([found == tone for found in read], np.float64).reshape(captions, -1).mean(axis=1)
    protocol = "share of pictures that the colour check reads as of the tone; bootstrap over captions"
    return mean_metric(values, protocol, Resampling(1000, 0)).to_json()


def _trained_pictures(dataset: PreparedSet, tone: str) -> Pictures:
    pictures = _pictures_of(dataset, dataset.split("train").records, tone)
    if not len(pictures):
        raise StageError(f"{dataset.directory} has no picture of {tone} skin tone in train: give more gestures")
    return pictures


def _pictures_of(dataset: PreparedSet, records: list[Record], tone: str) -> Pictures:
    rows = [record.image for record in records if read_caption(record.caption).tone == tone]
    pictures: Pictures = dataset.images[rows]
    return pictures


@torch.inference_mode()
def _reconstruct(run: Workspace, pictures: Pictures) -> Pictures:
    vqvae, blip = load_vqvae(run.require("vqvae")), load_blip(run.require("blip"))
    image = to_tensor(pictures)
    return to_uint8(vqvae.decode(vqvae.encode(image, blip.encode_images(image))))


def _drawn(picture: Pictures) -> NDArray[np.float64]:
    """The pixels (n,3) that are not paper; all where there are none."""
    pixels = picture.reshape(-1, 3).astype(np.float64)
    drawn = pixels[(pixels < WHITE).any(axis=1)]
    return drawn if len(drawn) else pixels


def _commonest_colour(picture: Pictures) -> tuple[int, ...]:
    """The middle of the commonest cell of colours."""
    cells = _drawn(picture).astype(int) // CELL * CELL + CELL // 2
    return _commonest(map(tuple, cells.tolist()))


def _commonest(colours: Any) -> tuple[int, ...]:
    found: tuple[int, ...] = Counter(colours).most_common(1)[0][0]
    return found


def _write_grid(pictures: Pictures, captions: list[str], path: Path) -> None:
    rows = pictures.reshape(len(captions), PICTURES, *pictures.shape[1:])
    grid: Image.Image = labelled_grid(rows[:IN_GRID], captions[:IN_GRID])
    grid.save(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
