"""A local HTTP server whose pages misbehave on demand, and the pictures it serves."""

import io
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread

import numpy as np
from PIL import Image


def picture_bytes(number: int, format: str = "PNG", side: int = 12) -> bytes:
    """A picture that no other number has."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers by the page's function; a path `/p<number>.png` without one is that picture."""

    protocol_version = "HTTP/1.1"
    timeout = 5.0
    owner: "PictureServer"

    def do_GET(self) -> None:
        with self.owner.lock:
            self.owner.requests[self.path] += 1
            self.owner.running += 1
            self.owner.most = max(self.owner.most, self.owner.running)
        try:
            page = self.owner.pages.get(self.path)
            if page is not None:
                page(self)
            elif self.path.startswith("/p"):
                self.owner.stopped.wait(self.owner.delay)
                self.reply(picture_bytes(int(self.path[2:].partition(".")[0])))
            else:
                self.reply(b"gone", status=404, kind="text/plain")
        except OSError:  # the other side has closed
            self.close_connection = True
        finally:
            with self.owner.lock:
                self.owner.running -= 1

    def reply(self, body: bytes, status: int = 200, kind: str = "image/png", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self, body: bytes, pause: float) -> None:
        """One byte at a time."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for place in range(len(body)):
            self.wfile.write(body[place : place + 1])
            self.wfile.flush()
            if self.owner.stopped.wait(pause):
                return

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at `requests`."""


class PictureServer:
    """Runs in threads of its own until `close`."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.pages: dict[str, Callable[[Handler], None]] = {}
        self.requests: Counter[str] = Counter()
        """Path -> how often it was asked for."""
        self.delay = 0.0
        """Seconds before a picture is sent."""
        self.running = self.most = 0
        """Requests being answered now, and at most."""
        self.lock, self.stopped = Lock(), Event()
        handler = type("OwnHandler", (Handler,), {"owner": self})
        self._server = ThreadingHTTPServer((address, 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.address, self.port = address, self._server.server_port
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://{self.address}:{self.port}{path}"

    def wait_for(self, count: int, seconds: float = 20.0) -> None:
        """Until so many requests have come."""
        end = time.monotonic() + seconds
        while self.requests.total() < count:
            assert time.monotonic() < end, f"{self.requests.total()} requests came, {count} were expected"
            time.sleep(0.005)

    def close(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
