"""Preparing many pictures takes no more memory than preparing few."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES, SIZE = 2000, 128  # 98 MB of prepared pictures

PREPARE = """
import sys
from pathlib import Path
from stages.config.data import DataConfig, FolderConfig
from stages.data.folder import FolderSource
from stages.data.prepared import PreparedWriter

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) / 1024

before = peak()
folder, out, size = sys.argv[1:]
config = DataConfig(source="folder", folder=FolderConfig(path=folder))
FolderSource(config, 0).write(PreparedWriter(Path(out), int(size)))
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder, out = tmp_path / "f", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    for number in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.bmp")
    lines = (json.dumps({"file_name": f"{number}.bmp", "text": "x"}) for number in range(PICTURES))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    command = [sys.executable, "-c", PREPARE, str(folder), str(out), str(SIZE)]
    grown = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert (out / "images.npy").stat().st_size > PICTURES * SIZE**2 * 3
    assert grown < 40, f"{grown:.0f} MiB more for 94 MiB of pictures"
