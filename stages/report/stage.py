"""`make report`: one self-contained page, and its tables in Markdown."""

import logging
from dataclasses import replace

from stages.config import RunConfig
from stages.data import load_dataset
from stages.errors import StageError
from stages.report.facts import read_facts
from stages.report.page import build_page, render_html, render_markdown
from stages.report.pictures import picture_grid
from stages.workspace import Workspace

log = logging.getLogger("stages.report")


def run(config: RunConfig, workspace: Workspace) -> None:
    """Writes `index.html` and `report.md` from what the run has published.

    Raises:
        StageError: a published file cannot be read, or the page is too large even without its grid.
    """
    facts = read_facts(workspace)
    dataset = load_dataset(workspace.directory("data")) if "data" in facts.manifests else None
    limit = round(config.report.max_megabytes * 1e6)
    prompts = config.report.prompts
    page = build_page(facts, config.report, dataset)
    html = render_html(page)
    while len(html.encode()) > limit and prompts > 0:
        prompts //= 2
        log.warning("report: the page is over report.max_megabytes; the grid is shortened to %d prompts", prompts)
        page = replace(page, grid=picture_grid(facts.pictures, prompts, config.report.picture_size))
        html = render_html(page)
    size = len(html.encode())
    if size > limit:
        raise StageError(
            f"report: the page is {size / 1e6:.1f} MB without its grid, over report.max_megabytes = "
            f"{config.report.max_megabytes:g}; raise that or lower report.examples"
        )
    with workspace.publish("report") as output:
        (output.directory / "index.html").write_text(html, encoding="utf-8")
        (output.directory / "report.md").write_text(render_markdown(page), encoding="utf-8")
        output.figures |= {"bytes": size, "prompts": len(page.grid), "not_available": len(page.missing.rows)}
    log.info(
        "report: %d prompts side by side, %d systems, %d things not available, %.1f MB. %s",
        len(page.grid),
        len(facts.evaluation.systems),
        len(page.missing.rows),
        size / 1e6,
        page.summary[0],
    )
