"""The page of runs beside each other: put together once, then written as HTML and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.config.report import ReportConfig
from stages.markdown import escape_markdown
from stages.report.compare.pictures import COLOURS, overlaid_curves, runs_grid, shared_rows
from stages.report.compare.runs import Run
from stages.report.compare.tables import (
    NOT_PAIRED,
    SYSTEMS,
    alike_table,
    cost_table,
    measured_table,
    other_systems,
    same_prompts,
    settings_table,
    system_table,
    total_seconds,
)
from stages.report.metric import Metric, intervals_apart, kind_of, write_detail, write_value
from stages.report.page import CurveGroup
from stages.report.pictures import GridRow
from stages.report.sections import write_seconds
from stages.report.summary import ATTRIBUTES, headline_metric
from stages.report.table import Table, markdown
from stages.report.templates import render


@dataclass(frozen=True)
class ComparePage:
    """Everything the page shows."""

    title: str
    subtitle: str
    summary: list[str]
    how: str
    """How differences are to be read."""
    painters: list[Table]
    alike: Table
    measured: Table
    others: list[Table]
    """Of controls and ceilings, one for each."""
    costs: Table
    settings: Table
    grid: list[GridRow]
    grid_columns: list[str]
    grid_remark: str
    curves: list[CurveGroup]
    curves_remark: str
    colours: list[tuple[str, str]]
    """Name of each run with the colour of its curves."""


def build_page(runs: Sequence[Run], config: ReportConfig) -> ComparePage:
    """Puts the page together; differences are to the first of the runs."""
    rows = shared_rows(runs)
    grid = runs_grid(runs, rows, config.prompts, config.picture_size)
    curves, curves_remark = overlaid_curves(runs)
    return ComparePage(
        title=f"Runs beside each other: {', '.join(run.name for run in runs)}",
        subtitle=f"differences are to {runs[0].name}",
        summary=_summary(runs),
        how=NOT_PAIRED,
        painters=[table for table in (system_table(runs, name) for name in SYSTEMS) if table.rows],
        alike=alike_table(runs),
        measured=measured_table(runs),
        others=[system_table(runs, name) for name in other_systems(runs)],
        costs=cost_table(runs),
        settings=settings_table(runs),
        grid=grid,
        grid_columns=[figure.label for figure in grid[0].pictures] if grid else [],
        grid_remark=_grid_remark(runs, len(rows)),
        curves=curves,
        curves_remark=curves_remark,
        colours=[(run.name, colour) for run, colour in zip(runs, COLOURS[: len(runs)], strict=True)],
    )


def render_html(page: ComparePage) -> str:
    """The page as one HTML file."""
    return render("compare.html.j2", page)


def render_markdown(page: ComparePage) -> str:
    """Summary and tables in Markdown."""
    parts = [f"# {escape_markdown(page.title)}", escape_markdown(page.subtitle)]
    parts += [" ".join(escape_markdown(sentence) for sentence in page.summary), escape_markdown(page.how)]
    tables = [*page.painters, page.alike, page.measured, page.settings, page.costs, *page.others]
    parts += [f"## {escape_markdown(table.title)}\n\n{markdown(table)}" for table in tables if table.rows]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _summary(runs: Sequence[Run]) -> list[str]:
    sentences = [_painters_sentence(runs)]
    names = _listed([run.name for run in runs])
    if same_prompts(runs):
        count = len(runs[0].facts.pictures.prompts)
        sentences.append(f"{names} were evaluated on the same {count} prompts with the same seeds.")
    elif all(run.facts.pictures.prompts for run in runs):
        sentences.append(f"{names} were not evaluated on the same prompts with the same seeds.")
    if len({run.digest("evaluation", "judge.safetensors") for run in runs}) > 1 or _differs(runs, "blip"):
        sentences.append("Judge or BLIP are not the same, so that the runs are not measured by one measure.")
    costs = [f"{write_seconds(total_seconds(run))} for {run.name}" for run in runs]
    return [*sentences, f"The stages took {_listed(costs)}."]


def _listed(names: Sequence[str]) -> str:
    """As in "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]])


def _differs(runs: Sequence[Run], stage: str) -> bool:
    return len({run.digest(stage) for run in runs}) > 1


def _painters_sentence(runs: Sequence[Run]) -> str:
    """How the prior's pictures fare in each run, and whether their intervals meet that of the first."""
    path = next((path for run in runs if (path := headline_metric(run.facts.evaluation))), ATTRIBUTES)
    kind = kind_of(path)
    label = kind.label if kind.label[1:2].isupper() else kind.label[0].lower() + kind.label[1:]
    first = runs[0].metric("prior", path)
    said = []
    for run in runs:
        metric = run.metric("prior", path)
        apart = intervals_apart(first, metric) if run is not runs[0] else None
        verdict = {True: " (the intervals do not overlap)", False: " (the intervals overlap)", None: ""}[apart]
        reason = f" ({metric.reason})" if metric.value is None else ""
        said.append(f"{_value(metric, kind.unit)}{reason} for {run.name}{verdict}")
    return f"The prior's {label} is {_listed(said)}."


def _value(metric: Metric, unit: str) -> str:
    detail = write_detail(metric, unit)
    return f"{write_value(metric, unit)} ({detail})" if detail else write_value(metric, unit)


def _grid_remark(runs: Sequence[Run], shared: int) -> str:
    """What the rows are, or why there are none; which pictures are not there."""
    without = [run.name for run in runs if not run.facts.pictures.prompts]
    if without:
        return f"No evaluated pictures are published by {', '.join(without)}; run: make evaluation"
    if shared == 0:
        return "The runs were evaluated on no prompt in common."
    missing = [
        f"{system} of {run.name}" for system in SYSTEMS for run in runs if system not in run.facts.pictures.systems
    ]
    said = f"Evenly spaced over the {shared} prompts that all runs were evaluated on; none was chosen by hand."
    return f"{said} Not available: {', '.join(missing)}." if missing else said
