"""Fetches pictures by url into the cache: several at a time, politely to each host, and only what is not there yet."""

import asyncio
import random
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from PIL import Image
from tqdm import tqdm
from yarl import URL

from stages.config.musti import MustiConfig
from stages.data.musti.addresses import NameResolver, is_public, socket_maker
from stages.data.musti.cache import PictureCache, open_cache
from stages.data.musti.failures import Dead, check_status, explain
from stages.data.musti.verify import Unusable, verify_picture

_REDIRECTS = 5
_CHUNK = 64 * 1024  # bytes
_GIVE_UP = 8  # links in a row that a host left without any answer before the rest of its links are not tried
_DECODED = 2  # pictures decoded at a time: one of `max_pixels` takes a gigabyte
_LEGAL = "%/:;=&?@!$'()*+,~"  # in a url's path and query, besides letters, digits, `_`, `.` and `-`
_HEADERS = {
    "User-Agent": "blip-vq-snail/0.1 (fetches pictures of a research data set, each once)",
    "Accept": "image/*,*/*;q=0.5",
    "Accept-Encoding": "identity",  # pictures are compressed already
}


@dataclass
class Fetched:
    """What became of every url."""

    files: dict[str, Path] = field(default_factory=dict)
    """Url -> its picture, verified to decode."""
    cached: set[str] = field(default_factory=set)
    """The urls whose pictures were there before."""
    dead: dict[str, str] = field(default_factory=dict)
    """Url -> why there is no picture."""


def host_of(url: str) -> str:
    """The host that a url names, for counting by."""
    try:
        return urlsplit(url.strip()).hostname or "(no host)"
    except ValueError:
        return "(no host)"


def fetch_pictures(urls: Sequence[str], config: MustiConfig, may_connect: Callable[[str], bool] = is_public) -> Fetched:
    """The picture of every url, from the cache or from its host; the order is that of `urls`.

    Ctrl-C leaves the cache whole; the next call goes on from there.

    Args:
        may_connect: whether an IP address may be connected to; `config.allow_private_addresses` lifts it.

    Raises:
        StageError: the cache cannot be used.
        OSError: a picture cannot be written (a full disk).
    """
    with open_cache(Path(config.cache)) as cache, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # `verify` has a limit of its own, and says so
        fetched = _look_up(urls, cache, config.max_pixels)
        allowed = (lambda address: True) if config.allow_private_addresses else may_connect
        asyncio.run(_Downloader(config, cache, fetched, allowed).run(urls))
    files, dead = fetched.files, fetched.dead
    ordered = {url: files[url] for url in urls if url in files}, {url: dead[url] for url in urls if url in dead}
    return Fetched(ordered[0], fetched.cached, ordered[1])


def _look_up(urls: Sequence[str], cache: PictureCache, max_pixels: int) -> Fetched:
    """What needs no fetching. A cached file that does not decode (any more) is removed."""
    fetched = Fetched(dead={url: cache.dead[url] for url in urls if url in cache.dead})
    paths = {url: path for url in urls if (path := cache.find(url)) is not None}
    pool = ThreadPoolExecutor(_DECODED)
    try:
        usable = pool.map(lambda path: _is_usable(path, max_pixels), paths.values())
        for (url, path), whole in zip(paths.items(), usable, strict=True):
            if whole:
                fetched.files[url] = path
                fetched.cached.add(url)
            else:
                cache.drop(url)
    finally:
        pool.shutdown(cancel_futures=True)  # or Ctrl-C would wait for all of them
    return fetched


def _is_usable(path: Path, max_pixels: int) -> bool:
    try:
        verify_picture(path, max_pixels)
    except Unusable:
        return False
    return True


class _Host:
    """Turns at one host, and how it has behaved."""

    def __init__(self, connections: int) -> None:
        self.turns = asyncio.Semaphore(connections)
        self.seats = asyncio.Semaphore(2 * connections)
        """Links being tried or about to be tried again: without it a link's second attempt would come after the first
        attempts of all others, and a host that never answers would be found out last."""
        self.not_before = 0.0  # loop time, seconds: it has asked to be left alone until then
        self.silent = 0  # links in a row without any answer
        self.given_up = ""  # why no more of its links are tried

    async def wait(self) -> None:
        """Until the host may be asked.

        Raises:
            Dead: it has been given up.
        """
        while not self.given_up and (left := self.not_before - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)
        if self.given_up:
            raise Dead(self.given_up)


class _Budget:
    """The time that one file may still take; it only runs while `running`."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.answered = False  # whether any host has answered

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        clock = asyncio.get_running_loop().time
        started = clock()
        timer = asyncio.timeout(max(0.0, self.left))
        try:
            async with timer:
                yield
        except TimeoutError:
            if timer.expired():
                raise Dead("deadline" if self.answered else "time-out", silent=not self.answered) from None
            raise
        finally:
            self.left -= clock() - started


class _Downloader:
    """One round of fetching."""

    def __init__(
        self, config: MustiConfig, cache: PictureCache, fetched: Fetched, may_connect: Callable[[str], bool]
    ) -> None:
        self.config, self.cache, self.fetched, self.may_connect = config, cache, fetched, may_connect
        self._turns = asyncio.Semaphore(config.connections)
        self._decoding = asyncio.Semaphore(_DECODED)
        self._hosts: dict[str | None, _Host] = {}
        self._jitter = random.Random()  # never seeded: several machines must not come back at the same moment

    async def run(self, urls: Sequence[str]) -> None:
        """Fetches what is neither there nor known to be dead."""
        done = self.fetched.files.keys() | self.fetched.dead.keys()
        wanted = [url for url in urls if url not in done]
        progress = tqdm(total=len(urls), initial=len(urls) - len(wanted), desc="data: fetching", unit="picture")
        with progress:
            async with self._open_session() as self._session:
                try:
                    async with asyncio.TaskGroup() as tasks:
                        for url in wanted:
                            tasks.create_task(self._settle(url, progress))
                except BaseExceptionGroup as group:  # the first trouble is the one to tell; the rest were called off
                    raise group.exceptions[0] from None

    def _open_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,  # turns are given out here, so that waiting for one does not count as time of the file
            resolver=NameResolver(),
            socket_factory=socket_maker(self.may_connect),
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.config.timeout_s, sock_read=self.config.timeout_s)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=_HEADERS)

    async def _settle(self, url: str, progress: "tqdm[Never]") -> None:
        """Fetches one url and notes what became of it."""
        try:
            self.fetched.files[url] = await self._fetch(url)
        except Dead as dead:
            self.fetched.dead[url] = dead.reason
            if dead.told:
                self.cache.remember_dead(url, dead.reason)
            progress.set_postfix(dead=len(self.fetched.dead), refresh=False)
        progress.update()

    async def _fetch(self, url: str) -> Path:
        """The url's picture, after as many attempts as it takes and the settings allow."""
        address = _parse(url)
        budget = _Budget(self.config.deadline_s)
        async with self._host(address.host).seats:
            for attempt in range(self.config.retries + 1):
                try:
                    return await self._attempt(url, address, budget)
                except Dead as dead:
                    if not dead.again or attempt == self.config.retries or budget.left <= 0:
                        self._judge(dead)
                        raise
                finally:
                    self.cache.partial(url).unlink(missing_ok=True)
                wait = self.config.backoff_s * 2**attempt * self._jitter.uniform(0.5, 1.5)
                await asyncio.sleep(min(wait, self.config.max_wait_s))
        raise AssertionError("the last attempt returns or raises")

    def _judge(self, dead: Dead) -> None:
        """Gives a host up that leaves link after link without any answer."""
        host = self._host(dead.host)
        host.silent += 1 if dead.silent else 0
        if host.silent >= _GIVE_UP:
            host.given_up = host.given_up or "host given up"

    async def _attempt(self, url: str, address: URL, budget: _Budget) -> Path:
        """One attempt, redirects followed; each hop waits for its turn at its own host."""
        for _ in range(_REDIRECTS + 1):
            host = self._host(address.host)
            async with host.turns:
                await host.wait()
                async with self._turns:
                    try:
                        target = await self._request(url, address, budget)
                    except Dead as dead:
                        dead.host = address.host
                        self._heed(host, dead)
                        raise
                    host.silent = 0
                    if target is None:
                        return await self._verify(url)
            address = target
        raise Dead("too many redirects", told=True)

    def _heed(self, host: _Host, dead: Dead) -> None:
        """Leaves the host alone for as long as it asks."""
        if not dead.silent:
            host.silent = 0
        if dead.wait > self.config.max_wait_s:
            host.given_up = f"{dead.reason}, wait too long"
            dead.again = False
        elif dead.wait:
            host.not_before = max(host.not_before, asyncio.get_running_loop().time() + dead.wait)

    async def _request(self, url: str, address: URL, budget: _Budget) -> URL | None:
        """Writes the body at `address` to the url's partial file; or returns where the host redirects to."""
        try:
            async with budget.running(), self._session.get(address, allow_redirects=False) as response:
                budget.answered = True
                if response.status in (301, 302, 303, 307, 308):
                    return _target(response)
                check_status(response)
                await self._write(response, self.cache.partial(url))
                return None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise explain(error) from None

    async def _write(self, response: aiohttp.ClientResponse, path: Path) -> None:
        """Streams the body to a file; it is never in memory as a whole."""
        most = self.config.max_bytes
        if (response.content_length or 0) > most:
            raise Dead("too many bytes")
        size = 0
        with path.open("wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK):
                size += len(chunk)
                if size > most:
                    raise Dead("too many bytes")
                file.write(chunk)

    async def _verify(self, url: str) -> Path:
        """Takes the url's partial file into the cache when it is a picture."""
        partial = self.cache.partial(url)
        try:
            async with self._decoding:
                suffix = await asyncio.to_thread(verify_picture, partial, self.config.max_pixels)
        except Unusable as error:
            too_large = str(error) == "too many pixels"  # for these settings: others may take it
            raise Dead(str(error), again=error.cut, told=not error.cut and not too_large) from None
        return await asyncio.to_thread(self.cache.keep, url, suffix)

    def _host(self, name: str | None) -> _Host:
        if name not in self._hosts:
            self._hosts[name] = _Host(self.config.connections_per_host)
        return self._hosts[name]


def _parse(url: str) -> URL:
    """The url as it is to be asked for: as written, so that a signed one stays valid; only what is illegal is quoted.

    Raises:
        Dead: it is none, or not one of http or https.
    """
    try:
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https"):
            raise Dead("not http or https")
        origin = str(URL(f"{parts.scheme}://{parts.netloc}")).rstrip("/")
        path, query = (quote(part, _LEGAL, errors="surrogateescape") for part in (parts.path or "/", parts.query))
        address = URL(f"{origin}{path}?{query}" if query else f"{origin}{path}", encoded=True)
    except ValueError:
        raise Dead("not a url") from None
    if not address.host:
        raise Dead("not a url")
    return address


def _target(response: aiohttp.ClientResponse) -> URL:
    """Where a redirect leads to.

    Raises:
        Dead: nowhere, or to something else than http and https.
    """
    location = response.headers.get("Location")
    if not location:
        raise Dead("redirect to nowhere", told=True)
    try:
        target = urljoin(str(response.url), location)
    except ValueError:
        raise Dead("redirect to nowhere", told=True) from None
    return _parse(target)
