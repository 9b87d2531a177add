"""Fetching that is killed or stopped in the middle: the cache stays whole, and nothing in it is fetched again."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from stages.data.musti.cache import url_key
from tests.data.musti.server import PictureServer, picture_bytes

COUNT = 1000


def command(tmp_path: Path, server: PictureServer, count: int) -> list[str]:
    """The command line of the stage for so many pictures."""
    records = [
        {"id": number, "image": server.url(f"/p{number}.png"), "language": "en", "text": "", "title": f"title {number}"}
        for number in range(count)
    ]
    (tmp_path / "musti-train.json").write_text(json.dumps(records))
    options = {
        "config": "configs/musti.yaml",
        "datasets": str(tmp_path / "data"),
        "checkpoints": str(tmp_path / "checkpoints"),
        "data.image_size": "16",
        "data.musti.train": str(tmp_path / "musti-train.json"),
        "data.musti.cache": str(tmp_path / "cache"),
        "data.musti.connections_per_host": "8",
        "data.musti.backoff_s": "0.05",
        "data.musti.allow_private_addresses": "true",
    }
    return [sys.executable, "-m", "stages", "data", *(f"--{name}={value}" for name, value in options.items())]


def whole_pictures(cache: Path) -> set[str]:
    """The keys of the cached pictures, each decoded to its end."""
    keys = set()
    for path in cache.glob("*.png"):
        with Image.open(path) as image:
            image.load()
        keys.add(path.stem)
    return keys


def test_killed_and_resumed(tmp_path: Path, server: PictureServer) -> None:
    dead = [f"/p{number}.png" for number in range(0, COUNT, 50)]
    for path in dead:
        server.pages[path] = lambda handler: handler.reply(b"gone", status=404)
    process = subprocess.Popen(command(tmp_path, server, COUNT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    server.wait_for(COUNT // 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    cached = whole_pictures(tmp_path / "cache")
    assert COUNT // 4 < len(cached) < COUNT
    before = set(server.requests)
    told = {json.loads(line)["url"] for line in (tmp_path / "cache" / "dead.jsonl").read_text().splitlines()}
    done = subprocess.run(command(tmp_path, server, COUNT), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    twice = {path for path, count in server.requests.items() if count > 1}
    assert len(server.requests) == COUNT and max(server.requests.values()) <= 2
    assert twice <= before and len(twice) <= 8, "only what was being written may be fetched again"
    assert not {url_key(server.url(path)) for path in twice} & cached
    assert not {server.url(path) for path in twice} & told
    expected = {url_key(server.url(f"/p{number}.png")): number for number in range(COUNT) if number % 50}
    assert whole_pictures(tmp_path / "cache") == set(expected)
    assert all((tmp_path / "cache" / f"{key}.png").read_bytes() == picture_bytes(n) for key, n in expected.items())
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".png", ""}
    assert f"{len(dead)} of {COUNT} pictures are missing" in done.stdout
    all_line = next(line for line in done.stdout.splitlines() if line.startswith("  all "))
    assert all_line.split() == ["all", str(COUNT - len(dead) - len(cached)), str(len(cached)), str(len(dead))]


@pytest.mark.parametrize("slow", ["answers", "drip"])
def test_ctrl_c_stops_soon_and_leaves_the_cache_whole(slow: str, tmp_path: Path, server: PictureServer) -> None:
    if slow == "drip":
        for number in range(20, 200):
            server.pages[f"/p{number}.png"] = lambda handler: handler.drip(bytes(1000), 0.05)
    else:
        server.delay = 0.05
    process = subprocess.Popen(
        command(tmp_path, server, 200),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells let background jobs ignore it
    )
    server.wait_for(24)
    time.sleep(0.1)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - started < 2
    assert process.returncode == 130
    assert "stopped; the same command goes on from what is done" in errors and "Traceback" not in errors
    kept = whole_pictures(tmp_path / "cache")
    assert len(kept) >= 8
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".png", ""}, "nothing half written is left"
    assert not (tmp_path / "data" / "musti").exists()
