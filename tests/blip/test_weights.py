"""`make weights` fetches from a hub, here a local one, and what it fetched works without a network afterwards."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages.blip.blip import Blip
from stages.blip.pretrained import save_network

NAME, COMMIT = "someone/small-blip", "c" * 40


@contextmanager
def serve_hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub with one repository that holds a folder's files; yields its address and, growing, the paths asked for."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(self.path)
            files = sorted(path.name for path in folder.iterdir())
            prefix = f"/{NAME}/resolve/{COMMIT}/"
            if self.path.startswith(f"/api/models/{NAME}/revision/"):
                about = {"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
                self._answer(json.dumps(about).encode(), {"Content-Type": "application/json"})
            elif self.path.startswith(f"/api/models/{NAME}/tree/{COMMIT}"):
                tree = [
                    {"type": "file", "path": name, "oid": "0" * 40, "size": (folder / name).stat().st_size}
                    for name in files
                ]
                self._answer(json.dumps(tree).encode(), {"Content-Type": "application/json"})
            elif self.path.startswith(prefix) and self.path.removeprefix(prefix) in files:
                body = (folder / self.path.removeprefix(prefix)).read_bytes()
                self._answer(body, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT})
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _answer(self, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()


def run(code: str, hub: str, cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own: the hub's address and cache are read once, at import."""
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", **more}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def run_yaml(tmp_path: Path) -> Path:
    (tmp_path / "run.yaml").write_text(f"blip:\n  pretrained: {NAME}\n")
    return tmp_path / "run.yaml"


def weights(run_yaml: Path) -> str:
    return f"import sys; from stages.__main__ import main; sys.exit(main(['weights', '--config', {str(run_yaml)!r}]))"


def test_a_fetched_checkpoint_works_offline(tmp_path: Path, blip: Blip, run_yaml: Path) -> None:
    save_network(blip.network, blip.tokenizer, tmp_path / "made")
    (tmp_path / "made" / "retrieval" / "training.log").write_text("not needed")
    with serve_hub(tmp_path / "made" / "retrieval") as (hub, asked):
        done = run(weights(run_yaml), hub, tmp_path / "cache")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"weights: {NAME} is in ") and done.stdout.count("\n") == 1
        assert any("model.safetensors" in path for path in asked)
        assert not any("training.log" in path for path in asked)
        before = len([path for path in asked if path.endswith("model.safetensors")])
        assert run(weights(run_yaml), hub, tmp_path / "cache").returncode == 0
        assert len([path for path in asked if path.endswith("model.safetensors")]) == before  # not fetched twice
    load = f"from stages.blip.pretrained import load_pretrained; print(load_pretrained({NAME!r})[0].text_width)"
    loaded = run(load, hub, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert loaded.stdout.strip() == str(blip.text_width), loaded.stderr


def test_an_unknown_name_and_an_unreachable_hub_are_one_line(tmp_path: Path, run_yaml: Path) -> None:
    (tmp_path / "empty").mkdir()
    run_yaml.write_text("blip:\n  pretrained: someone/else\n")
    with serve_hub(tmp_path / "empty") as (hub, _):
        unknown = run(weights(run_yaml), hub, tmp_path / "cache")
    unreachable = run(weights(run_yaml), "http://127.0.0.1:9", tmp_path / "cache")
    for done in (unknown, unreachable):
        assert done.returncode == 2
        assert "error: blip.pretrained: cannot fetch someone/else" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_config_without_checkpoints_says_so(tmp_path: Path) -> None:
    done = run(weights(Path("configs/demo.yaml").resolve()), "http://127.0.0.1:9", tmp_path)
    assert done.returncode == 2 and "the config names no checkpoint" in done.stderr
