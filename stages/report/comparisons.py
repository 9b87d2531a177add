"""The tables that say what is compared: by how much the prior differs, how far seeds matter, what each was given."""

from dataclasses import replace
from typing import Any

from stages.evaluation.compared import COMPARED, ROLES
from stages.report.facts import Evaluation, system_name
from stages.report.metric import Kind, Metric, kind_of, write_detail, write_number
from stages.report.table import Cell, Table, arrow, cross_table

BUDGETS = {
    "parameters": Kind("Weights", "count", 0),
    "pictures_seen": Kind("Training pictures seen, repeats counted", "count", 0),
    "train_seconds": Kind("Seconds of training", "count", 0),
}
MEAN, DEVIATION, VALUES = "mean", "standard_deviation", "values"
BASELINES = {
    "latent": "It denoises latents of the same VQ-VAE given the same features of the caption.",
    "pixel": "It denoises the pictures themselves, with no VQ-VAE, given the same features of the caption.",
    "pretrained": "It is a text-to-image checkpoint tuned on the train pictures, with latents and a reader of captions "
    "of its own.",
}
"""What the baseline does, by where it denoises."""


def compared_table(evaluation: Evaluation, baseline: dict[str, Any]) -> Table:
    """What each system of the results is, and why it is there; how many prompts show a picture of train.

    Args:
        evaluation: the results.
        baseline: the section `diffusion` of the config that the run's baseline was made with; empty without one.
    """
    table = Table("compared", "What is compared", ["", "as", "what it is, and why it is there"])
    for name, compared in COMPARED.items():
        if name in evaluation.systems:
            role = {"system": "system", "control": "control (floor)", "ceiling": "ceiling"}[compared.role]
            about = [compared.about, _does(baseline)] if name == "diffusion" else [compared.about]
            table.rows.append([Cell(compared.title), Cell(role), Cell(" ".join(filter(None, about)), wide=True)])
    seen = evaluation.section("prompts").get("pictures_in_train", Metric(None)).value
    if table.rows and seen:
        table.remark = f"{seen:.0f} prompts have a picture that is in train too, as the official splits have it."
    return table


def _does(baseline: dict[str, Any]) -> str:
    """What a baseline of that section of the config does; nothing where the section does not say it."""
    return BASELINES.get("pretrained" if baseline.get("pretrained") else baseline.get("space", ""), "")


def role_groups(systems: list[str]) -> list[tuple[str, int]]:
    """Headings over neighbouring columns of one role, each with how many columns it spans."""
    groups: list[tuple[str, int]] = []
    for name in systems:
        heading = ROLES[COMPARED[name].role] if name in COMPARED else "Others"
        if groups and groups[-1][0] == heading:
            groups[-1] = (heading, groups[-1][1] + 1)
        else:
            groups.append((heading, 1))
    return groups


def paired_table(evaluation: Evaluation) -> Table:
    """The prior's figures minus those of each other system; bold where the interval leaves out no difference."""
    by_other: dict[str, dict[str, Metric]] = {}
    for path, metric in evaluation.section("paired").items():
        other, name = path.split("/", maxsplit=1)
        by_other.setdefault(other, {})[name] = metric
    found = [metric for metrics in by_other.values() for metric in metrics.values() if metric.value is not None]
    if not found:
        return Table("paired", "", [])
    rows = {name: of_differences(kind_of(name)) for metrics in by_other.values() for name in metrics}
    columns = {f"minus {system_name(other)}": metrics for other, metrics in by_other.items()}
    table = cross_table("paired", "Prior minus each other, paired on the same prompts", "metric", columns, rows)
    for row, name in zip(table.rows, rows, strict=True):
        for place, metrics in enumerate(by_other.values(), start=1):
            row[place] = _signed(row[place], metrics.get(name))
    table.groups = role_groups(list(by_other))
    table.remark = (
        "Each difference with the 95 % interval of a bootstrap that draws a prompt's two pictures together, and the "
        "number n of pairs: what makes a prompt hard for both drops out, so smaller differences show than in the table "
        "above. Bold: the interval leaves out 0. Above 0 the prior has more; the arrow says whether more is better."
    )
    return table


def of_differences(kind: Kind) -> Kind:
    """How the difference of two such metrics is written."""
    return kind._replace(unit="points") if kind.unit == "percent" else kind


def _signed(cell: Cell, metric: Metric | None) -> Cell:
    """The cell of a difference: with its sign, bold where the interval leaves out 0."""
    if metric is None or metric.value is None:
        return cell
    sure = metric.ci95 is not None and (metric.ci95[0] > 0 or metric.ci95[1] < 0)
    return replace(cell, text=f"+{cell.text}" if metric.value > 0 else cell.text, best=sure)


def seeds_table(evaluation: Evaluation) -> Table:
    """Mean, spread and each seed's value of the systems that paint; empty for one seed."""
    rows: dict[tuple[str, str], dict[str, Metric]] = {}
    for path, metric in evaluation.section("seeds").items():
        system, name, figure = path.split("/", maxsplit=2)
        rows.setdefault((system, name), {})[figure] = metric
    seeds = list(dict.fromkeys(figure for found in rows.values() for figure in found if figure.startswith(VALUES)))
    head = ["", "mean", "standard deviation", *(f"seed {seed.removeprefix(VALUES + '/')}" for seed in seeds)]
    table = Table("seeds", "The same prompts painted with other seeds", head)
    for (system, name), found in rows.items():
        kind = kind_of(name)
        heading = Cell(f"{system_name(system)}: {kind.label}{arrow(kind)}")
        cells = [_plain(found.get(figure), kind) for figure in (MEAN, DEVIATION, *seeds)]
        cells[0] = replace(cells[0], detail=write_detail(found.get(MEAN, Metric(None)), kind.unit))
        table.rows.append([heading, *cells])
    if table.rows:
        table.remark = (
            "The standard deviation is between seeds of the painting, of one training run; percent where the metric is "
            "a share. The mean's interval is over prompts, each with its pictures of all seeds. Every other figure of "
            "this page is of the first seed."
        )
    return table


def budgets_table(evaluation: Evaluation) -> Table:
    """What each system that paints was given, and what it made of it."""
    columns: dict[str, dict[str, Metric]] = {}
    for path, metric in evaluation.section("budgets").items():
        system, name = path.split("/", maxsplit=1)
        columns.setdefault(system_name(system), {})[name] = metric
    rows = {name: BUDGETS.get(name) or kind_of(name) for found in columns.values() for name in found}
    table = cross_table("budgets", "Budgets", "", columns, rows)
    if len(columns) > 1:
        table.remark = (
            "Weights of the prior are those of both its networks, its pictures those that the network shown more of "
            "them has seen. Seconds are of the whole stage, on the device that its manifest names."
        )
    return table


def _plain(metric: Metric | None, kind: Kind) -> Cell:
    if metric is None or metric.value is None:
        return Cell("\N{EN DASH}", missing=True)
    return Cell(write_number(metric.value, kind.unit))
