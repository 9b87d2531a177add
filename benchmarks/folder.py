"""Preparing a folder of JPEGs against a plain loop over its files: time, and whether memory grows with the pictures.

`python -m benchmarks.folder ours|reference FOLDER OUT` is one measurement, in a process of its own: what an earlier one
has taken would count for the next.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 64
SIDE = 256
DIFFERENT = 2_000
MANY = 50_000


def cases() -> Iterator[dict[str, Any]]:
    """2,000 different JPEGs of 256 x 256, and 50,000 names for them (hard links): the same work a picture, 25 times."""
    with tempfile.TemporaryDirectory() as name:
        few, many = Path(name) / "few", Path(name) / "many"
        _write_folder(few)
        _link_folder(few, many)
        for folder, pictures, repeats in ((few, DIFFERENT, 3), (many, MANY, 1)):
            runs: dict[str, list[dict[str, float]]] = {"ours": [], "reference": []}
            for _ in range(repeats):
                for side, done in runs.items():
                    done.append(_in_a_process(side, folder, Path(name)))
            yield _case(pictures, runs)


def prepare(folder: Path, out: Path) -> None:
    """The source `folder`, as `make data` runs it: pictures, captions, duplicates, splits."""
    from stages.config.data import DataConfig, FolderConfig
    from stages.data.folder import FolderSource
    from stages.data.prepared import PreparedWriter

    FolderSource(DataConfig(source="folder", folder=FolderConfig(path=str(folder))), 0).write(PreparedWriter(out, SIZE))


def loop(folder: Path, out: Path) -> None:
    """Every picture opened, converted, resized, one after the other; all saved in one array at the end."""
    files = sorted(folder.glob("*.jpg"))
    images = np.empty((len(files), SIZE, SIZE, 3), dtype=np.uint8)
    for row, file in enumerate(files):
        images[row] = np.asarray(Image.open(file).convert("RGB").resize((SIZE, SIZE)))
    np.save(out / "images.npy", images)


def _write_folder(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(DIFFERENT):
        rough, fine = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (8, 96))
        one, two = (Image.fromarray(cells).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for cells in (rough, fine))
        Image.blend(one, two, 0.3).save(folder / f"{number:06d}.jpg", quality=90)
    _write_metadata(folder, DIFFERENT)


def _link_folder(source: Path, folder: Path) -> None:
    folder.mkdir()
    for number in range(MANY):
        os.link(source / f"{number % DIFFERENT:06d}.jpg", folder / f"{number:06d}.jpg")
    _write_metadata(folder, MANY)


def _write_metadata(folder: Path, count: int) -> None:
    with (folder / "metadata.jsonl").open("w") as file:
        for number in range(count):
            text = f"a caption of about the usual length, number {number}"
            file.write(json.dumps({"file_name": f"{number:06d}.jpg", "text": text}) + "\n")


def _in_a_process(side: str, folder: Path, scratch: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        command = [sys.executable, "-m", "benchmarks.folder", side, str(folder), out]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _case(pictures: int, runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    seconds = {side: statistics.median(run["seconds"] for run in done) for side, done in runs.items()}
    peaks = {side: round(max(run["peak_mib"] for run in done)) for side, done in runs.items()}
    return {
        "settings": {"pictures": pictures, "file": f"JPEG {SIDE} px", "to": f"{SIZE} px"},
        "ours_s": seconds["ours"],
        "reference_s": seconds["reference"],
        "ratio": seconds["reference"] / seconds["ours"],
        "repeats": len(runs["ours"]),
        "pictures_per_s": pictures / seconds["ours"],
        "ours_peak_mib": peaks["ours"],
        "reference_peak_mib": peaks["reference"],
        "cores": len(os.sched_getaffinity(0)),
    }


def _measure(side: str, folder: Path, out: Path) -> dict[str, float]:
    """Seconds of one run and the most memory that this process has had resident since its start."""
    started = time.perf_counter()
    (prepare if side == "ours" else loop)(folder, out)
    seconds = time.perf_counter() - started
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return {"seconds": seconds, "peak_mib": peak / 1024}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
