"""A combination that was never seen: one skin tone, held out of half of the gestures that a set of emoji shows.

`make compare-tones CONFIG=configs/folder.yaml ARGS="--data.folder.path emoji --data.name emoji --run emoji"`, with
`--tone light` for another tone than `dark`, and `--seed 1` for another half and another training. Captions end as
Unicode's names do: "waving hand, dark skin tone". A sibling of the run, such as `emoji-without-dark`, is trained
without these pictures; then what it paints for their captions is read by the colour check, and beside it: real
pictures, the tone where it was trained, and the same captions without a tone.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.comparisons.palette import TONES, Palette, Pictures
from benchmarks.comparisons.siblings import run_stage
from benchmarks.record import keep_results
from stages.__main__ import parse_config
from stages.blip import load_blip
from stages.data import PreparedSet, Record, load_dataset, pictures_at_once, to_tensor, to_uint8
from stages.errors import StageError
from stages.markdown import markdown_table
from stages.metrics.bootstrap import Resampling, mean_metric
from stages.samples import load_text_to_image
from stages.samples.grid import labelled_grid
from stages.vqvae import load_vqvae
from stages.workspace import Workspace

PICTURES, IN_GRID = 4, 24
GRID = "tones.png"


class Caption(NamedTuple):
    """What a caption says of a gesture."""

    gesture: str
    tone: str | None
    """None: it names none, or those of several people."""


def main(options: list[str]) -> int:
    """Trains what is not trained yet, prints the table, writes `benchmarks/results/tones.json` and a grid."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.comparisons.tones", description="and any option of a stage", allow_abbrev=False
    )
    parser.add_argument("--tone", choices=TONES, default="dark", help="which is held out")
    own, options = parser.parse_known_args(options)
    try:
        sibling = train_without(own.tone, options)
        figures = compare(sibling, own.tone)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(table(figures, own.tone))
    print(f"what was painted: {sibling.root / GRID}")
    about = {"tone": own.tone, "run": sibling.config.run, "seed": sibling.config.seed}
    keep_results("tones", about | {"figures": figures})
    return 0


def read_caption(caption: str) -> Caption:
    """Such as "waving hand" and "dark" of "waving hand, dark skin tone"."""
    gesture, _, ending = caption.rpartition(", ")
    tone = ending.removesuffix(" skin tone")
    known = gesture and ending != tone and tone in TONES and " skin tone" not in gesture
    return Caption(gesture, tone) if known else Caption(caption, None)


def train_without(tone: str, options: list[str]) -> Workspace:
    """The sibling of the run, trained to the prior; its test split is what was held out.

    Args:
        options: as of a stage, such as `--config configs/folder.yaml`.

    Raises:
        StageError: there are too few gestures that are shown in all tones.
        SystemExit: a stage could not be run, and has said why.
    """
    config = parse_config("data", options)
    ending = f"-without-{tone}" + (f"-{config.seed}" if config.seed else "")
    run, name = config.run + ending, config.data.name + ending
    whole = run_stage("data", [*options, "--data.name", f"{config.data.name}-with-all-tones"])
    dataset = load_dataset(whole.directory("data"))
    held = hold_out(dataset.records, tone, config.seed)
    listed = whole.directory("data").with_name(f"{name}.txt")
    listed.write_text("".join(f"{file}\n" for file in sorted({record.file_name for record in held})), encoding="utf-8")
    options = [*options, "--run", run, "--data.name", name]
    options += ["--data.splits.test_list", str(listed), "--data.splits.lists_take_groups", "false"]
    sibling = run_stage("data", options)
    _parts(load_dataset(sibling.directory("data")), tone)  # what is too little to compare is said before training
    for stage in ("blip", "vqvae", "codes", "prior"):
        run_stage(stage, options)
    return sibling


def hold_out(records: list[Record], tone: str, seed: int) -> list[Record]:
    """All of a tone of half of the gestures that are shown in all tones, drawn by the seed.

    Raises:
        StageError: there are fewer than two such gestures.
    """
    shown: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        gesture, of_tone = read_caption(record.caption)
        if of_tone is not None:
            shown.setdefault(gesture, {}).setdefault(of_tone, []).append(record)
    whole = sorted(gesture for gesture, tones in shown.items() if len(tones) == len(TONES))
    if len(whole) < 2:
        raise StageError(
            'no two gestures are shown in all five tones: captions must end as in "waving hand, dark skin tone"'
        )
    drawn = np.random.default_rng(seed).permutation(len(whole))[: len(whole) // 2]
    return [record for i in sorted(drawn) for record in shown[whole[i]][tone]]


class Parts(NamedTuple):
    """What is painted and read."""

    train: list[Record]
    held: list[Record]
    """Held out of training, of gestures that are trained in other tones: not those whose every tone is in val, or set
    aside as alike."""
    unseen: list[Record]
    """Of val, in any tone, of gestures that are not in train."""


def _parts(dataset: PreparedSet, tone: str) -> Parts:
    train = dataset.split("train").records
    trained = {read.gesture for read in map(read_caption, _captions(train)) if read.tone is not None}
    held = [
        one for one in _of_tone(dataset.split("test").records, tone) if read_caption(one.caption).gesture in trained
    ]
    unseen = [
        one
        for one in dataset.split("val").records
        if read_caption(one.caption).tone is not None and read_caption(one.caption).gesture not in trained
    ]
    for each in TONES:
        if not _of_tone(train, each):
            raise StageError(
                f"{dataset.directory}: no picture of {each} skin tone is left in train: give more gestures"
            )
    if not held:
        raise StageError(f"{dataset.directory}: no gesture that was held out has other tones in train: give more")
    return Parts(train, held, unseen)


def compare(run: Workspace, tone: str) -> dict[str, Any]:
    """What the check reads as of the tone, or of the tone that the name says, in real pictures and in painted ones.

    Raises:
        StageError: a stage of the run has not been run.
    """
    dataset, paint = load_dataset(run.require("data")), load_text_to_image(run)
    parts = _parts(dataset, tone)
    palette = Palette([_pictures_of(dataset, _of_tone(parts.train, each)) for each in TONES])

    def real(records: list[Record], asked: str = tone) -> dict[str, Any]:
        return _score(palette.read(_pictures_of(dataset, records)), asked, len(records))

    def painted(captions: list[str]) -> Pictures:
        return to_uint8(paint([caption for caption in captions for _ in range(PICTURES)], seed=run.config.seed))

    def scored(captions: list[str], asked: str = tone) -> dict[str, Any]:
        return _score(palette.read(painted(captions)), asked, len(captions))

    held = _captions(parts.held)
    gestures = {read_caption(caption).gesture for caption in held}
    drawn = painted(held)
    _write_grid(drawn, held, run.root / GRID)
    told = [(one, read_caption(one.caption)) for one in dataset.records]
    figures = {
        "real, held out": real(parts.held),
        "reconstructed, held out": _score(
            palette.read(_reconstruct(run, _pictures_of(dataset, parts.held))), tone, len(parts.held)
        ),
        "painted, held out": _score(palette.read(drawn), tone, len(held)),
        "painted, trained": scored(_captions(_of_tone(parts.train, tone))),
        "real, held-out gestures in other tones": real(
            [one for one, says in told if says.gesture in gestures and says.tone not in (tone, None)]
        ),
        "real, held-out gestures without a tone": real([one for one, says in told if one.caption in gestures]),
        "painted, held-out gestures without a tone": scored(sorted(gestures)),
    }
    for each in TONES:
        unseen = _of_tone(parts.unseen, each)
        if unseen:
            figures[f"real, gestures never seen, {each}"] = real(unseen, each)
            figures[f"painted, gestures never seen, {each}"] = scored(_captions(unseen), each)
    return figures


def table(figures: dict[str, Any], tone: str) -> str:
    """A row for each of what was read, in Markdown."""
    rows = [
        [name, *(_percent(value) for value in (found["value"], *(found["ci95"] or (None, None)))), str(found["n"])]
        for name, found in figures.items()
    ]
    return markdown_table(["pictures", f"{tone}, or the tone named", "from", "to (95 %)", "captions"], rows)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"


def _score(read: list[str | None], tone: str, captions: int) -> dict[str, Any]:
    """The share of the tone among the pictures of each caption, which lie together, averaged."""
    right = np.array([found == tone for found in read], dtype=bool)
    values = right.reshape(captions, -1).mean(axis=1) if len(right) > captions else right
    protocol = f"share of pictures that the colour check reads as {tone}; bootstrap over captions"
    return mean_metric(values, protocol, Resampling(1000, 0)).to_json()


def _of_tone(records: list[Record], tone: str) -> list[Record]:
    return [record for record in records if read_caption(record.caption).tone == tone]


def _captions(records: list[Record]) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(record.caption for record in records))


def _pictures_of(dataset: PreparedSet, records: list[Record]) -> Pictures:
    pictures: Pictures = dataset.images[np.array([record.image for record in records], np.int64)]
    return pictures


@torch.inference_mode()
def _reconstruct(run: Workspace, pictures: Pictures) -> Pictures:
    vqvae, blip = load_vqvae(run.require("vqvae")), load_blip(run.require("blip"))
    parts, most = [], pictures_at_once(pictures.shape[1])
    for start in range(0, len(pictures), most):
        image = to_tensor(pictures[start : start + most])
        parts.append(to_uint8(vqvae.decode(vqvae.encode(image, blip.encode_images(image)))))
    return np.concatenate(parts)


def _write_grid(pictures: Pictures, captions: list[str], path: Path) -> None:
    rows = pictures.reshape(len(captions), PICTURES, *pictures.shape[1:])
    labelled_grid(rows[:IN_GRID], captions[:IN_GRID]).save(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
