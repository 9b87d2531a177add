"""A hub of one repository on this machine, for fetching from."""

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

COMMIT = "c" * 40


@contextmanager
def serve_hub(name: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub with the repository `name` that holds a folder's files; yields its address and, growing, the paths asked
    for."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(self.path)
            files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
            prefix = f"/{name}/resolve/{COMMIT}/"
            if self.path.startswith(f"/api/models/{name}/revision/"):
                about = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
                self._answer(json.dumps(about).encode(), {"Content-Type": "application/json"})
            elif self.path.startswith(f"/api/models/{name}/tree/{COMMIT}"):
                tree = [
                    {"type": "file", "path": file, "oid": "0" * 40, "size": (folder / file).stat().st_size}
                    for file in files
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
            for field, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(field, value)
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


def fetch(run_yaml: Path) -> str:
    """Code that does what `make weights` does for a config."""
    return f"import sys; from stages.__main__ import main; sys.exit(main(['weights', '--config', {str(run_yaml)!r}]))"
