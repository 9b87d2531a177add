"""Writing and reading take as much memory for many records as for few, measured in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FEW, MANY = 1_000, 100_000
ROOM = 8  # MiB that a peak may differ by; the codes of so many records are 63 MiB


def peaks(doing: str, count: int, folder: Path) -> dict[str, float]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.store", "ours", doing, str(count), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


@pytest.mark.parametrize("doing", ["write", "read"])
def test_memory_does_not_grow_with_the_records(tmp_path: Path, doing: str) -> None:
    few: dict[str, float] = {}
    many: dict[str, float] = {}
    for measured, count in ((few, FEW), (many, MANY)):
        measured |= peaks("write", count, tmp_path / str(count))
        if doing == "read":
            measured |= peaks("read", count, tmp_path / str(count))
    size = (tmp_path / str(MANY) / "lmdb" / "data.mdb").stat().st_size / 2**20
    assert size > 63
    assert many["anonymous"] < few["anonymous"] + ROOM
    # Pages of the store that were looked at count as resident, until the kernel wants them back
    mapped = size if doing == "read" else ROOM
    assert many["resident"] < few["resident"] + ROOM + mapped
