"""Fetching from a real server that does all that servers do."""

import dataclasses
import email.utils
import gzip
import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from stages.config.musti import MustiConfig
from stages.data.musti.cache import open_cache, url_key
from stages.data.musti.fetch import fetch_pictures
from stages.errors import StageError
from tests.data.musti.server import Handler, PictureServer, picture_bytes

HTML = b"\n<!DOCTYPE html><html><body>This picture has moved.</body></html>"


def huge_png(side: int) -> bytes:
    """A few bytes that claim to be side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def cut(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(picture_bytes(0)[:200])
    handler.close_connection = True


def cut_without_length(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(picture_bytes(0)[:200])
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def silence(handler: Handler) -> None:
    handler.owner.stopped.wait(3)
    handler.close_connection = True


def endless(handler: Handler) -> None:
    """More than the limit, its size not told beforehand."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x" * 65536)
    handler.close_connection = True


def redirect(target: str) -> Callable[[Handler], None]:
    return lambda handler: handler.reply(b"", status=302, Location=target)


DEAD: dict[str, tuple[Callable[[Handler], None], str, int]] = {
    "404": (lambda handler: handler.reply(b"gone", status=404), "HTTP 404", 1),
    "403": (lambda handler: handler.reply(b"no", status=403), "HTTP 403", 1),
    "204": (lambda handler: handler.reply(b"", status=204), "HTTP 204", 1),
    "always 500": (lambda handler: handler.reply(b"", status=500), "HTTP 500", 3),
    "time-out": (silence, "time-out", 3),
    "slow drip": (lambda handler: handler.drip(picture_bytes(0), 0.02), "deadline", 1),
    "truncated": (cut, "truncated", 3),
    "truncated, no length": (cut_without_length, "broken picture", 3),
    "hangs up": (hang_up, "connection lost", 6),  # aiohttp itself asks once more when a connection just closes
    "HTML with 200": (lambda handler: handler.reply(HTML, kind="text/html"), "HTML page", 1),
    "HTML as a picture": (lambda handler: handler.reply(HTML, kind="image/jpeg"), "HTML page", 1),
    "no picture": (lambda handler: handler.reply(b"%PDF-1.4 ...", kind="image/jpeg"), "not a picture", 1),
    "nothing": (lambda handler: handler.reply(b""), "not a picture", 1),
    "redirect loop": (redirect("/x"), "too many redirects", 6),
    "redirect to a file": (redirect("file:///etc/passwd"), "not http or https", 1),
    "redirect to nowhere": (redirect(""), "redirect to nowhere", 1),
    "redirect to no url": (redirect("http://[bad/"), "redirect to nowhere", 1),
    "large file": (lambda handler: handler.reply(b"x" * 300_000), "too many bytes", 1),
    "endless file": (endless, "too many bytes", 1),
    "gzip bomb": (
        lambda handler: handler.reply(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip"),
        "too many bytes",
        1,
    ),
    "bomb": (lambda handler: handler.reply(huge_png(2_000)), "too many pixels", 1),
    "bomb that Pillow warns of": (lambda handler: handler.reply(huge_png(12_000)), "too many pixels", 1),
    "bomb that Pillow refuses": (lambda handler: handler.reply(huge_png(60_000)), "too many pixels", 1),
}


@pytest.mark.parametrize("case", DEAD)
def test_dead_links(case: str, server: PictureServer, config: MustiConfig) -> None:
    page, reason, requests = DEAD[case]
    server.pages["/x"] = page
    if case in ("time-out", "slow drip"):
        config = dataclasses.replace(config, timeout_s=0.25, deadline_s=1.0)
    started = time.monotonic()
    fetched = fetch_pictures([server.url("/x"), server.url("/p1.png")], config)
    assert time.monotonic() - started < 2.5
    assert fetched.dead == {server.url("/x"): reason}
    assert list(fetched.files) == [server.url("/p1.png")] and server.requests["/x"] == requests
    left = {path.name for path in Path(config.cache).iterdir()}
    assert left <= {".lock", "dead.jsonl", f"{url_key(server.url('/p1.png'))}.png"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://127.0.0.1/p1.png", "not http or https"),
        ("/p1.png", "not http or https"),
        ("http://", "not a url"),
        ("http://[::1", "not a url"),
        ("http://127.0.0.1:99999/p1.png", "not a url"),
        ("http://127.1/p1.png", "not a url"),
        (f"http://{'a' * 70}.invalid/p1.png", "not a url"),
        ("http://nowhere.invalid/p1.png", "no such host"),
        ("http://münchen.invalid/p1.png", "no such host"),
        ("http://127.0.0.1:1/p1.png", "no connection"),
        ("p\ud800", "not http or https"),
    ],
)
def test_urls_that_lead_nowhere(url: str, reason: str, config: MustiConfig) -> None:
    fetched = fetch_pictures([url], config)
    assert set(fetched.dead) == {url}
    assert fetched.dead[url] in (reason, "no such host" if "invalid" in url else reason)


def test_what_passes_is_tried_again(server: PictureServer, config: MustiConfig) -> None:
    def at_first(trouble: Callable[[Handler], None], path: str) -> None:
        def page(handler: Handler) -> None:
            if server.requests[path] <= 2:
                trouble(handler)
            else:
                handler.reply(picture_bytes(int(path[2:])))

        server.pages[path] = page

    at_first(lambda handler: handler.reply(b"", status=500), "/x1")
    at_first(cut, "/x2")
    at_first(hang_up, "/x3")
    at_first(lambda handler: handler.reply(b"", status=503, Retry_After="soon"), "/x4")
    at_first(cut_without_length, "/x5")
    urls = [server.url(f"/x{number}") for number in range(1, 6)]
    fetched = fetch_pictures(urls, config)
    assert list(fetched.files) == urls and not fetched.dead
    assert all(fetched.files[url].read_bytes() == picture_bytes(n) for n, url in enumerate(urls, start=1))
    assert set(server.requests.values()) == {3}


@pytest.mark.parametrize("date", [False, True])
def test_a_host_is_left_alone_as_long_as_it_asks(date: bool, server: PictureServer, config: MustiConfig) -> None:
    times: list[float] = []

    def page(handler: Handler) -> None:
        times.append(time.monotonic())
        if len(times) > 1:
            handler.reply(picture_bytes(1))
        else:
            wait = email.utils.formatdate(time.time() + 2, usegmt=True) if date else "1"
            handler.reply(b"", status=429, Retry_After=wait)

    server.pages |= {f"/x{number}": page for number in range(4)}
    urls = [server.url(f"/x{number}") for number in range(4)]
    fetched = fetch_pictures(urls, dataclasses.replace(config, connections_per_host=1))
    assert list(fetched.files) == urls
    assert times[1] - times[0] >= (0.8 if date else 1.0)  # a date is told in whole seconds


def test_a_host_that_asks_for_too_much_is_given_up(server: PictureServer, config: MustiConfig) -> None:
    pages = {f"/x{number}": lambda handler: handler.reply(b"", status=429, Retry_After="3600") for number in range(50)}
    server.pages |= pages
    fetched = fetch_pictures([server.url(path) for path in pages], config)
    assert set(fetched.dead.values()) <= {"HTTP 429", "HTTP 429, wait too long"} and len(fetched.dead) == 50
    assert server.requests.total() <= config.connections_per_host


def test_a_host_that_never_answers_is_given_up(server: PictureServer, config: MustiConfig) -> None:
    pages = {f"/x{number}": DEAD["time-out"][0] for number in range(60)}
    server.pages |= pages
    config = dataclasses.replace(config, timeout_s=0.1, retries=1)
    fetched = fetch_pictures([server.url(path) for path in pages], config)
    assert set(fetched.dead.values()) == {"time-out", "host given up"}
    assert 8 <= len(server.requests) <= 20


def test_content_decides_and_not_the_content_type(server: PictureServer, config: MustiConfig) -> None:
    for number, (format, kind) in enumerate((("PNG", "text/html"), ("JPEG", ""), ("GIF", "image/png"))):
        body = picture_bytes(number, format)
        server.pages[f"/x{number}"] = partial(Handler.reply, body=body, kind=kind)
    fetched = fetch_pictures([server.url(f"/x{number}") for number in range(3)], config)
    assert [path.suffix for path in fetched.files.values()] == [".png", ".jpg", ".gif"]


def test_redirects_are_followed(server: PictureServer, config: MustiConfig) -> None:
    server.pages |= {"/x": redirect("y?a=%2F"), "/y?a=%2F": redirect(server.url("/p3.png").removeprefix("http:"))}
    fetched = fetch_pictures([server.url("/x")], config)
    assert fetched.files[server.url("/x")].read_bytes() == picture_bytes(3)


def test_urls_arrive_as_they_are_written(server: PictureServer, config: MustiConfig) -> None:
    urls = {
        "/p1.png/full/!650,650/0/a%2Fb.jpg": "/p1.png/full/!650,650/0/a%2Fb.jpg",
        "/p2.png?a b=ü|x#part": "/p2.png?a%20b=%C3%BC%7Cx",
        "/p3.png?signed=a%2Fb%20c+d%3d&e=%7E": "/p3.png?signed=a%2Fb%20c+d%3d&e=%7E",
        " /p4.png\n": "/p4.png",
    }
    fetched = fetch_pictures([path.replace("/p", server.url("/p"), 1) for path in urls], config)
    assert not fetched.dead and set(server.requests) == set(urls.values())


def test_urls_with_the_same_base_name_are_kept_apart(server: PictureServer, config: MustiConfig) -> None:
    urls = [server.url("/p1.png?a/0000174.jpg"), server.url("/p2.png?b/0000174.jpg")]
    fetched = fetch_pictures(urls, config)
    assert [fetched.files[url].read_bytes() for url in urls] == [picture_bytes(1), picture_bytes(2)]


def test_nothing_is_fetched_twice(server: PictureServer, config: MustiConfig) -> None:
    urls = [server.url(f"/p{number}.png") for number in range(5)]
    first = fetch_pictures([*urls, server.url("/gone")], config)
    again = fetch_pictures([*urls, server.url("/gone"), server.url("/p9.png")], config)
    assert set(server.requests.values()) == {1}
    assert not first.cached and again.cached == set(urls) and again.dead == {server.url("/gone"): "HTTP 404"}


def test_a_damaged_file_in_the_cache_is_fetched_again(server: PictureServer, config: MustiConfig) -> None:
    url = server.url("/p1.png")
    path = fetch_pictures([url], config).files[url]
    path.write_bytes(path.read_bytes()[:100])
    fetched = fetch_pictures([url], config)
    assert not fetched.cached and fetched.files[url].read_bytes() == picture_bytes(1)


def test_limits_on_connections(server: PictureServer, config: MustiConfig) -> None:
    server.delay = 0.02
    urls = [server.url(f"/p{number}.png") for number in range(40)]
    fetch_pictures(urls, dataclasses.replace(config, connections_per_host=3))
    assert server.most == 3
    server.most = 0
    more = [server.url(f"/p{number}.png") for number in range(100, 120)]
    fetch_pictures(more, dataclasses.replace(config, connections=2, connections_per_host=9))
    assert server.most == 2
    other = PictureServer("127.0.0.2")
    try:
        server.most, other.delay = 0, 0.02
        mixed = [there.url(f"/p{number}.png") for number in range(50, 90) for there in (server, other)]
        fetch_pictures(mixed, dataclasses.replace(config, connections_per_host=3, connections=4))
        assert 1 <= server.most <= 3 and 1 <= other.most <= 3 and server.most + other.most >= 4
    finally:
        other.close()


def test_waiting_for_a_turn_does_not_count_as_time_of_the_file(server: PictureServer, config: MustiConfig) -> None:
    server.delay = 0.1
    urls = [server.url(f"/p{number}.png") for number in range(8)]
    config = dataclasses.replace(config, connections=1, deadline_s=0.5)
    assert len(fetch_pictures(urls, config).files) == 8


def test_private_addresses_are_refused(server: PictureServer, config: MustiConfig) -> None:
    names = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0")
    urls = [f"http://{name}:{server.port}/p1.png" for name in names]
    fetched = fetch_pictures(urls, dataclasses.replace(config, allow_private_addresses=False))
    assert not server.requests and len(fetched.dead) == len(urls)
    assert set(fetched.dead.values()) == {"not a public address"}


def test_a_redirect_to_a_private_address_is_refused(server: PictureServer, config: MustiConfig) -> None:
    """127.0.0.1 stands for the public internet here, 127.0.0.2 for a machine behind the wall."""
    inside = PictureServer("127.0.0.2")
    try:
        server.pages |= {"/x": redirect(inside.url("/p1.png")), "/y": redirect("/p2.png")}
        urls = [server.url("/x"), server.url("/y")]
        outside_only = dataclasses.replace(config, allow_private_addresses=False)
        fetched = fetch_pictures(urls, outside_only, may_connect=lambda address: address == "127.0.0.1")
        assert fetched.dead == {urls[0]: "not a public address"} and list(fetched.files) == urls[1:]
        assert not inside.requests
        again = fetch_pictures(urls, config)
        assert list(again.files) == urls and inside.requests.total() == 1
    finally:
        inside.close()


def test_two_processes_do_not_fill_one_cache(server: PictureServer, config: MustiConfig) -> None:
    with open_cache(Path(config.cache)), pytest.raises(StageError, match="another process is fetching into"):
        fetch_pictures([server.url("/p1.png")], config)
    assert not server.requests


def test_a_full_disk_is_no_dead_link(server: PictureServer, config: MustiConfig) -> None:
    Path(config.cache).mkdir()
    blocked = Path(config.cache) / f"{url_key(server.url('/p1.png'))}.png"
    (blocked / "in the way").mkdir(parents=True)  # as good as a full disk: the file cannot be put there
    with open_cache(Path(config.cache)) as cache:
        cache_files = cache.find(server.url("/p1.png"))
    assert cache_files == blocked
    with pytest.raises(OSError, match=r"[Dd]irectory"):
        fetch_pictures([server.url("/p1.png")], config)


def test_pillow_is_left_as_it_was(server: PictureServer, config: MustiConfig) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    server.pages["/x"] = DEAD["bomb that Pillow warns of"][0]
    fetch_pictures([server.url("/x")], config)
    assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(huge_png(12_000)))


def test_a_name_that_takes_long_to_look_up_does_not_hold_up_a_stop(config: MustiConfig) -> None:
    """No thread that outlives the fetching may keep the program from ending."""
    fetch_pictures(["http://nowhere.invalid/p1.png"], config)
    assert all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate())
