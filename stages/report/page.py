"""The page: everything that is shown, put together once, then written as HTML and as Markdown."""

from dataclasses import dataclass
from typing import Any

import yaml

from stages.config.report import ReportConfig
from stages.data import PreparedSet
from stages.markdown import escape_markdown
from stages.report.blip import BlipSection, blip_section
from stages.report.card import DataCard, data_card
from stages.report.comparisons import budgets_table, compared_table, paired_table, seeds_table
from stages.report.confusion import confusion_tables, frequent_confusions
from stages.report.copying import CopyingSection, copying_section
from stages.report.curves import plot_curves, read_curves
from stages.report.facts import Evaluation, RunFacts, system_name
from stages.report.metric import Metric, kind_of, write_detail, write_value
from stages.report.pictures import Figure, GridRow, picture_grid, png_figure
from stages.report.reproduction import reproduction_table, worked_example
from stages.report.sections import (
    attribute_tables,
    costs_table,
    judge_table,
    latents_table,
    missing_table,
    prior_tables,
    scene_tables,
    sweep_tables,
    systems_tables,
)
from stages.report.summary import bits_per_code, headline_metric, summarise
from stages.report.table import Table, list_table, markdown
from stages.report.templates import render

PLACED = {
    *("prompts", "paired", "seeds", "budgets", "vqvae", "prior", "published", "blip", "judge", "sweep", "copying"),
    "confusion",
}
"""Sections of `metrics.json` that have a place of their own on the page."""


@dataclass(frozen=True)
class Tile:
    """One of the few figures at the top."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class CurveGroup:
    """The training curves of one fit."""

    title: str
    plots: list[Figure]


@dataclass(frozen=True)
class Page:
    """Everything the page shows."""

    title: str
    subtitle: str
    summary: list[str]
    tiles: list[Tile]
    grid: list[GridRow]
    grid_systems: list[str]
    systems: list[Table]
    """The most telling first."""
    compared: Table
    paired: Table
    seeds: Table
    budgets: Table
    attributes: list[Table]
    """On the compared split and, where there is one, on new compositions."""
    scenes: list[Table]
    confused: Table
    confusion: dict[str, list[Table]]
    """What was asked and what is shown, by system, a table for each attribute."""
    judge: Table
    copying: CopyingSection
    blip: BlipSection
    vqvae: Table
    prior: list[Table]
    sweep: list[Table]
    others: list[Table]
    reproduction: Table
    example: Table
    example_sentence: str
    curves: list[CurveGroup]
    latents: list[Figure]
    latents_page: str
    """Where the interactive page is, from this one; empty if there is none."""
    latents_figures: Table
    card: DataCard | None
    missing: Table
    costs: Table
    configs: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    facts: list[tuple[str, str]]


def build_page(facts: RunFacts, config: ReportConfig, dataset: PreparedSet | None) -> Page:
    """Puts the page together.

    Args:
        dataset: the prepared set; None when the data stage has not been run.
    """
    evaluation = facts.evaluation
    example, sentence = worked_example()
    grid = picture_grid(facts.pictures, config.prompts, config.picture_size)
    others = {name: metrics for name, metrics in evaluation.sections.items() if name not in PLACED and metrics}
    return Page(
        title=f"Caption to picture: {facts.run}",
        subtitle=_subtitle(facts),
        summary=summarise(facts),
        tiles=_tiles(evaluation),
        grid=grid,
        grid_systems=[system_name(system) for system in facts.pictures.systems],
        systems=systems_tables(evaluation),
        compared=compared_table(evaluation, facts.manifests.get("diffusion", {}).get("config", {})),
        paired=paired_table(evaluation),
        seeds=seeds_table(evaluation),
        budgets=budgets_table(evaluation),
        attributes=attribute_tables(evaluation),
        scenes=scene_tables(evaluation),
        confused=frequent_confusions(evaluation),
        confusion=confusion_tables(evaluation),
        judge=judge_table(evaluation),
        copying=copying_section(facts),
        blip=blip_section(facts),
        vqvae=list_table("vqvae-figures", "VQ-VAE on pictures of 'test'", evaluation.section("vqvae")),
        prior=prior_tables(evaluation),
        sweep=sweep_tables(evaluation),
        others=[list_table(f"section-{name}", name.capitalize(), metrics) for name, metrics in others.items()],
        reproduction=reproduction_table(evaluation),
        example=example,
        example_sentence=sentence,
        curves=_curves(facts),
        latents=_latents(facts),
        latents_page=_latents_page(facts),
        latents_figures=latents_table(facts.figures("latents")),
        card=data_card(dataset, facts.manifests["data"], config.examples, config.picture_size) if dataset else None,
        missing=missing_table(facts),
        costs=costs_table(facts),
        configs=[(stage, _as_yaml(manifest.get("config", {}))) for stage, manifest in facts.manifests.items()],
        versions=_versions(facts),
        facts=_provenance(facts),
    )


def render_html(page: Page) -> str:
    """The page as one HTML file; every text from outside is escaped by the template engine."""
    return render("page.html.j2", page)


def render_markdown(page: Page) -> str:
    """Summary and tables in Markdown."""
    parts = [f"# {escape_markdown(page.title)}", escape_markdown(page.subtitle)]
    parts.append(" ".join(escape_markdown(sentence) for sentence in page.summary))
    blip = [page.blip.decisions] if page.blip.decisions else []
    blip += page.blip.tables
    tables = [*page.systems, page.compared, page.paired, page.budgets, page.seeds]
    tables += [*page.attributes, *page.scenes, page.confused, page.judge, page.copying.table]
    tables += [*blip, page.vqvae, *page.prior, *page.sweep, *page.others]
    tables += [page.reproduction, page.example, page.latents_figures]
    tables += page.card.tables if page.card else []
    tables += [page.missing, page.costs]
    for table in tables:
        if page.card and table is page.card.tables[0]:
            sheet = "The contact sheet is on the page, and beside the data set's own card."
            parts += ["## Data card", escape_markdown(f"{page.card.sentence} {sheet}")]
        if table is page.blip.decisions:
            parts += ["## BLIP", escape_markdown(page.blip.guide)]
        if table.rows or table.remark:
            parts += [f"## {escape_markdown(table.title)}", markdown(table)]
        if table is page.example:
            parts.append(escape_markdown(page.example_sentence))
    parts.append(
        "## Versions\n\n" + "\n".join(f"- {escape_markdown(a)}: {escape_markdown(b)}" for a, b in page.versions)
    )
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def _subtitle(facts: RunFacts) -> str:
    data = facts.manifests.get("data", {}).get("config", {})
    parts = [f"data set '{data['name']}'" if data.get("name") else "", f"split '{facts.evaluation.split}'"]
    if not facts.evaluation.split:
        parts.pop()
    if facts.pictures.prompts:
        parts.append(f"{len(facts.pictures.prompts)} prompts")
    last = max((str(manifest.get("created") or "") for manifest in facts.manifests.values()), default="")
    return ", ".join(part for part in [*parts, last[:10]] if part)


def _tiles(evaluation: Evaluation) -> list[Tile]:
    """The few figures that a reader looks for first; what is not available is left to its table."""
    path = headline_metric(evaluation)
    wanted: list[tuple[str, Metric | None, str]] = []
    if path is not None:
        unit = kind_of(path).unit
        name = kind_of(path).label
        for system in ("prior", "diffusion", "prior_shuffled"):
            if system in evaluation.systems:
                wanted.append((f"{name}: {system_name(system)}", evaluation.metric(system, path), unit))
    wanted.append(("Reconstruction PSNR", evaluation.section("vqvae").get("psnr_db"), "dB"))
    true, shuffled = bits_per_code(evaluation)
    wanted.append(("Bits per code, true caption", true, "score"))
    wanted.append(("Bits per code, other caption", shuffled, "score"))
    return [
        Tile(label, write_value(metric, unit), write_detail(metric, unit))
        for label, metric, unit in wanted
        if metric is not None and metric.value is not None
    ]


def _curves(facts: RunFacts) -> list[CurveGroup]:
    groups = []
    for stage, directory in facts.directories.items():
        path = directory / "curves.jsonl"
        curves = read_curves(path) if path.is_file() else []
        for fit in dict.fromkeys(curve.fit for curve in curves):
            title = fit if fit.startswith(stage) else f"{stage}: {fit}".removesuffix(": ")
            groups.append(CurveGroup(title, plot_curves([curve for curve in curves if curve.fit == fit])))
    return groups


def _latents(facts: RunFacts) -> list[Figure]:
    found = []
    for plot in facts.figures("latents").get("plots", []):
        path = facts.directories["latents"] / str(plot.get("file", ""))
        if path.is_file():
            found.append(png_figure(path, str(plot.get("caption", ""))))
    return found


def _latents_page(facts: RunFacts) -> str:
    """Relative address of the interactive page: the folders of a run's stages lie side by side."""
    file = str(facts.figures("latents").get("interactive") or "")
    there = file and (facts.directories["latents"] / file).is_file()
    return f"../{facts.directories['latents'].name}/{file}" if there else ""


def _as_yaml(section: dict[str, Any]) -> str:
    return str(yaml.safe_dump(section, sort_keys=False, allow_unicode=True)).strip()


def _versions(facts: RunFacts) -> list[tuple[str, str]]:
    """Each package with its version, or its versions where stages were run with different ones."""
    found: dict[str, dict[str, None]] = {}
    for manifest in facts.manifests.values():
        for package, version in (manifest.get("versions") or {}).items():
            found.setdefault(str(package), {})[str(version)] = None
    return [(package, ", ".join(versions)) for package, versions in found.items()]


def _provenance(facts: RunFacts) -> list[tuple[str, str]]:
    def distinct(key: str) -> str:
        return ", ".join(dict.fromkeys(str(m[key]) for m in facts.manifests.values() if m.get(key) is not None))

    created = sorted(str(m["created"]) for m in facts.manifests.values() if m.get("created"))
    lines = [
        ("commit", distinct("git_commit") or "unknown (not run from a checkout)"),
        ("hardware", distinct("device")),
    ]
    lines.append(("seed", distinct("seed")))
    if created:
        lines.append(("made", f"{created[0]} to {created[-1]}"))
    return [(name, text) for name, text in lines if text]
