"""Opens a page in headless Chromium and says what is wrong with it: errors, requests to the network, overflow."""

import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
NEEDS_NO_NETWORK = ("file:", "data:", "blob:", "about:")
_PATIENCE = 60
"""Seconds that the browser may take to start, and a page to load."""


class Window(NamedTuple):
    """Size of the window, CSS pixels."""

    width: int
    height: int


DESKTOP, PHONE = Window(1280, 900), Window(390, 844)


@dataclass(frozen=True)
class Seen:
    """What the browser reports of a page."""

    errors: list[str]
    """What the console has as an error, and scripts' uncaught exceptions."""
    requests: list[str]
    """Addresses that it asked the network for, whatever came of it."""
    widths: tuple[int, int]
    """Of all that the page holds, and of the window that it was laid out for, CSS pixels."""
    window: Window

    def problems(self) -> list[str]:
        """What is wrong, in words."""
        found = [f"it asks the network for {address}" for address in self.requests]
        found += [f"the console says: {error}" for error in self.errors]
        content, laid_out = self.widths
        if content > self.window.width:  # not the window's: a phone makes that wider for a page that overflows
            found.append(f"it is {content} px wide in a window of {self.window.width} px")
        elif laid_out != self.window.width:
            found.append(f"it was laid out for {laid_out} px rather than {self.window.width} px")
        return found


def find_browser() -> str | None:
    """The browser's program; None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def running_browser(program: str) -> Iterator[str]:
    """A browser without a window; yields the address of its DevTools."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--hide-scrollbars", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        options.append("--host-resolver-rules=MAP * ~NOTFOUND")  # a page that asks for the network does not get it
        process = subprocess.Popen(
            [program, *options, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield _devtools(Path(profile) / "DevToolsActivePort", process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _devtools(port_file: Path, process: subprocess.Popen[bytes]) -> str:
    """The address, once the browser has written its port down."""
    for _ in range(10 * _PATIENCE):
        if port_file.is_file() and len(lines := port_file.read_text().split()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        if process.poll() is not None:
            raise RuntimeError(f"the browser ended with status {process.returncode} before it could be asked")
        time.sleep(0.1)
    raise TimeoutError(f"the browser did not start within {_PATIENCE} s")


def look_at(page: Path, devtools: str, window: Window) -> Seen:
    """Loads a page in a window of this size; a narrow one is a phone's."""
    return asyncio.run(asyncio.wait_for(_look_at(page, devtools, window), _PATIENCE))


async def _look_at(page: Path, devtools: str, window: Window) -> Seen:
    async with aiohttp.ClientSession() as session, session.ws_connect(devtools, max_msg_size=0) as socket:
        tab = _Tab(socket)
        target = await tab.ask("Target.createTarget", url="about:blank")
        attached = await tab.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab.session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await tab.ask(f"{domain}.enable")
        phone = window.width < 600
        size = {"width": window.width, "height": window.height, "deviceScaleFactor": 1, "mobile": phone}
        await tab.ask("Emulation.setDeviceMetricsOverride", **size)
        await tab.ask("Page.navigate", url=page.resolve().as_uri())
        await tab.until("Page.loadEventFired")
        measure = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        found = await tab.ask("Runtime.evaluate", expression=measure, returnByValue=True)
        await tab.ask("Target.closeTarget", targetId=target["targetId"])
        content, laid_out = found["result"]["value"]
    return Seen(_errors(tab.events), _requests(tab.events), (content, laid_out), window)


class _Tab:
    """Commands to a page and the events that come back, in the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.events: list[dict[str, Any]] = []
        self.session = ""
        self._socket, self._asked = socket, 0

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command; events that come before it are kept."""
        self._asked += 1
        command = {"id": self._asked, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": self.session} if self.session else {}))
        while True:
            message = await self._receive()
            if message.get("id") == self._asked:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])

    async def until(self, method: str) -> None:
        """Waits for an event, if it has not come yet."""
        while not any(event["method"] == method for event in self.events):
            await self._receive()

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._socket.receive_str())
        if "method" in message:
            self.events.append(message)
        return message


def _errors(events: list[dict[str, Any]]) -> list[str]:
    found = []
    for event in events:
        told = event["params"]
        if event["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            found.append(" ".join(str(part.get("value", part.get("description"))) for part in told["args"]))
        elif event["method"] == "Runtime.exceptionThrown":
            thrown = told["exceptionDetails"]
            found.append(str(thrown.get("exception", {}).get("description") or thrown["text"]))
        elif event["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
            found.append(told["entry"]["text"])
    return found


def _requests(events: list[dict[str, Any]]) -> list[str]:
    """Addresses outside the page; one that its own policy forbids counts as well."""
    sent = (event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent")
    return [address for address in sent if not address.startswith(NEEDS_NO_NETWORK)]
