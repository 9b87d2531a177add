"""The pages as a browser shows them: no error, nothing from the network, no wider than a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.report import stage
from tests.report.browser import DESKTOP, NAMES, PHONE, Window, find_browser, look_at, running_browser

WINDOWS = pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def devtools() -> Iterator[str]:
    """Address of the DevTools of one browser for all tests."""
    program = find_browser()
    if program is None:
        pytest.skip(f"there is no browser on PATH: {', '.join(NAMES)}")
    with running_browser(program) as address:
        yield address


@WINDOWS
def test_the_report(make_tree: Callable[..., Any], devtools: str, window: Window) -> None:
    tree = make_tree()
    stage.run(tree.config, tree.workspace)
    assert look_at(tree.workspace.directory("report") / "index.html", devtools, window).problems() == []


@WINDOWS
def test_the_report_of_a_run_that_has_nothing(make_tree: Callable[..., Any], devtools: str, window: Window) -> None:
    tree = make_tree(attributes=False)
    tree.remove("data", "evaluation", "latents", "prior")
    stage.run(tree.config, tree.workspace)
    assert look_at(tree.workspace.directory("report") / "index.html", devtools, window).problems() == []


@WINDOWS
def test_runs_beside_each_other(make_pair: Callable[..., Any], devtools: str, window: Window) -> None:
    assert look_at(make_pair().compare() / "index.html", devtools, window).problems() == []


HEAD = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
POLICY = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
PICTURE = '<img src="https://example.org/a.png" alt="">'
BROKEN = {
    "console": ("<script>console.error('it broke')</script>", "the console says: it broke"),
    "exception": ("<script>undefined_name()</script>", "undefined_name is not defined"),
    "picture": (PICTURE, "the network for https://example.org/a.png"),
    "style": ('<link rel="stylesheet" href="http://example.org/a.css">', "the network for http://example.org/a.css"),
    "fetch": ("<script>fetch('https://example.org/a').catch(() => null)</script>", "the network for https://example"),
    "forbidden": (POLICY + PICTURE, "example.org/a.png"),
    "wide": ('<div style="width: 2000px">wide</div>', "it is 2000 px wide in a window of 390 px"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_seen(tmp_path: Path, devtools: str, name: str) -> None:
    content, said = BROKEN[name]
    page = tmp_path / "page.html"
    page.write_text(f"{HEAD}{content}<style>body {{ margin: 0 }}</style><p>broken</p>")
    assert said in "; ".join(look_at(page, devtools, PHONE).problems())


@WINDOWS
def test_nothing_is_wrong_with_a_plain_page(tmp_path: Path, devtools: str, window: Window) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"{HEAD}<p>{'fine ' * 500}</p><script>console.log('fine')</script>")
    assert look_at(page, devtools, window).problems() == []
