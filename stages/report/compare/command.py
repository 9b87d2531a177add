"""`make compare RUNS="a b"`: one page for runs that are there, its tables in Markdown and on the terminal."""

import logging
from collections.abc import Sequence
from pathlib import Path

from stages.config import RunConfig
from stages.report.compare.page import build_page, render_html, render_markdown
from stages.report.compare.runs import read_runs
from stages.report.table import plain

log = logging.getLogger("stages.report.compare")


def folder_of(names: Sequence[str], config: RunConfig) -> Path:
    """Where the page of these runs is written."""
    return Path(config.checkpoints) / "-".join(["compare", *names])


def compare_runs(names: Sequence[str], config: RunConfig) -> None:
    """Writes `index.html` and `compare.md`, and says the painters' tables.

    Args:
        config: says where the runs are, and how much of their pictures is shown.

    Raises:
        StageError: there are not two or more different runs of these names, or a published file cannot be read.
    """
    runs = read_runs(names, config)
    page = build_page(runs, config.report)
    folder = folder_of(names, config)
    folder.mkdir(exist_ok=True)
    for name, text in (("index.html", render_html(page)), ("compare.md", render_markdown(page))):
        partial = folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
    for table in page.painters:
        log.info("%s\n%s\n", table.title, plain(table))
    for sentence in page.summary:
        log.info("%s", sentence)
    log.info("compare: %s", folder / "index.html")
