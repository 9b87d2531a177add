"""The page's tables, each from the facts of the run."""

import re
from dataclasses import replace
from typing import Any

from stages.evaluation.compared import named
from stages.pipeline import STAGES
from stages.report.comparisons import role_groups
from stages.report.copying import COPYING
from stages.report.facts import Evaluation, RunFacts, system_name
from stages.report.metric import COMPOSITIONS, Kind, Metric, flatten, kind_of, write_number
from stages.report.table import Cell, Table, cross_table, list_table

PER_ATTRIBUTE = re.compile(rf"^(?:attribute_)?accuracy(?P<split>{COMPOSITIONS})?/(?P<part>.+)$")
PER_SCENE = re.compile(rf"^attribute_accuracy_scene(?P<split>{COMPOSITIONS})?/(?P<part>.+)$")
ON_SPLIT = {None: "", COMPOSITIONS: ", on new compositions"}
JUDGE = "Judge, on real pictures"
FAMILIES = {
    "Do the pictures show what the prompts say?": re.compile(r"attribute_|itm_|itc_|r_precision"),
    "BLIP's captions of the pictures, against the prompts": re.compile(r"bleu|meteor|rouge|cider"),
    "Likeness to the prompt's own picture": re.compile(r"mse|psnr|ssim|lpips"),
    "The pictures as a set": re.compile(r"(frechet|mmd|precision|recall)_|fid|kid|inception_score|diversity_"),
    "Time": re.compile(r"seconds_per_picture"),
}
"""Tables of systems and metrics, the most telling first, and what belongs into each."""
OTHER_METRICS = "Other metrics"
HOW_TO_READ = (
    "Under each value its 95 % interval and the number n of samples. Bold: the better value among the systems; "
    "controls say what is earned without painting from the caption, ceilings what the true pictures earn. "
    "\N{UPWARDS ARROW} higher is better, \N{DOWNWARDS ARROW} lower is better."
)
BITS_PER_CODE = re.compile(
    r"(?P<split>val|train)_nll_bits_per_code(?:_(?P<level>top|bottom))?(?:_(?P<told>shuffled|uncaptioned))?"
)
TOLD = {
    ("val", None): "true caption",
    ("val", "shuffled"): "another's caption",
    ("val", "uncaptioned"): "no caption",
    ("train", None): "true caption, train pictures",
}
LEVELS = {"both": "both levels", "top": "top level", "bottom": "bottom level"}
LATENT_NAMES = {
    "explained_variance_2_top": Kind("Variance in 2 components, top", "percent", 0),
    "explained_variance_10_top": Kind("Variance in 10 components, top", "percent", 0),
    "explained_variance_2_bottom": Kind("Variance in 2 components, bottom", "percent", 0),
    "explained_variance_10_bottom": Kind("Variance in 10 components, bottom", "percent", 0),
    "trustworthiness": Kind("Trustworthiness of the t-SNE, top", "score", 1),
    "trustworthiness_bottom": Kind("Trustworthiness of the t-SNE, bottom", "score", 1),
    "trustworthiness_joint": Kind("Trustworthiness of the t-SNE, pictures and captions", "score", 1),
    "knn_agreement": Kind("Nearest neighbours that the t-SNE keeps (kNN agreement), top", "percent", 1),
    "knn_agreement_bottom": Kind("The same, bottom", "percent", 1),
    "knn_agreement_joint": Kind("The same, pictures and captions", "percent", 1),
    "knn_agreement_chance": Kind("The same by chance, top and bottom", "percent", 0),
    "label_agreement_top": Kind("Neighbours with the same label, in pooled top z_q", "percent", 1),
    "label_agreement_bottom": Kind("Neighbours with the same label, in pooled bottom z_q", "percent", 1),
    "label_agreement_tsne": Kind("Neighbours with the same label, in the t-SNE, top", "percent", 1),
    "label_agreement_chance": Kind("Neighbours with the same label, by chance", "percent", 0),
    "retrieval_r1": Kind("Picture by its caption's codes, pooled z_q, R@1", "percent", 1),
    "retrieval_r10": Kind("Picture by its caption's codes, pooled z_q, R@10", "percent", 1),
    "retrieval_r10_centred": Kind("The same with each modality's mean removed", "percent", 1),
    "retrieval_r10_chance": Kind("R@10 by chance", "percent", 0),
    "modality_mixing": Kind("Neighbours of the other modality (0.5: mixed)", "score", 0),
    "usage_top": Kind("Codes in use, top", "percent", 1),
    "usage_bottom": Kind("Codes in use, bottom", "percent", 1),
    "usage_text": Kind("Codes in use, captions", "percent", 0),
    "perplexity_top": Kind("Perplexity of the codes, top", "score", 0),
    "perplexity_bottom": Kind("Perplexity of the codes, bottom", "score", 0),
    "perplexity_text": Kind("Perplexity of the codes, captions", "score", 0),
    "mutual_information": Kind("Normalised mutual information of top and bottom codes", "score", 0),
    "mutual_information_chance": Kind("The same with positions shuffled", "score", 0),
}


def systems_tables(evaluation: Evaluation) -> list[Table]:
    """Systems by metrics, a table for each family of metrics, but for those with a table of their own."""
    rows: dict[str, Kind] = {}
    for metrics in evaluation.systems.values():
        rows |= {path: kind_of(path) for path in metrics if path not in rows and not _has_own_table(path)}
    families: dict[str, dict[str, Kind]] = {title: {} for title in (*FAMILIES, OTHER_METRICS)}
    for path, kind in rows.items():
        families[_family_of(path)][path] = kind
    tables = [_systems_table(evaluation, title, family) for title, family in families.items() if family]
    for table in tables[:1]:
        table.remark = HOW_TO_READ
    return tables


def _family_of(path: str) -> str:
    return next((title for title, pattern in FAMILIES.items() if pattern.match(path)), OTHER_METRICS)


def _systems_table(evaluation: Evaluation, title: str, rows: dict[str, Kind]) -> Table:
    """The better painter from text in bold."""
    columns = {system_name(name): metrics for name, metrics in evaluation.systems.items()}
    table = cross_table(f"systems-{next(iter(rows))}", title, "metric", columns, rows)
    for row, (path, kind) in zip(table.rows, rows.items(), strict=True):
        _mark_best(row, list(evaluation.systems), [metrics.get(path) for metrics in evaluation.systems.values()], kind)
    table.groups = role_groups(list(evaluation.systems))
    return table


def _has_own_table(path: str) -> bool:
    return bool(PER_ATTRIBUTE.match(path) or PER_SCENE.match(path)) or path in COPYING


def _mark_best(row: list[Cell], systems: list[str], metrics: list[Metric | None], kind: Kind) -> None:
    """Makes the best value among the systems bold, controls and ceilings apart, where at least two differ."""
    values = {
        number: kind.better * metric.value
        for number, (system, metric) in enumerate(zip(systems, metrics, strict=True))
        if system in named("system") and metric is not None and metric.value is not None
    }
    if kind.better == 0 or len(values) < 2 or len(set(values.values())) < 2:
        return
    best = max(values.values())
    for number, value in values.items():
        if value == best:
            cell = row[number + 1]
            row[number + 1] = replace(cell, best=True)


def attribute_tables(evaluation: Evaluation) -> list[Table]:
    """Share of pictures that show each captioned attribute, by system; the judge's own accuracy beside them."""
    systems = {system_name(name): metrics for name, metrics in evaluation.systems.items()}
    systems[JUDGE] = evaluation.section("judge")
    return _part_tables("attributes", "Attribute accuracy, attribute by attribute", "attribute", PER_ATTRIBUTE, systems)


def scene_tables(evaluation: Evaluation) -> list[Table]:
    """Attribute accuracy of the prompts of each scene, by system."""
    systems = {system_name(name): metrics for name, metrics in evaluation.systems.items()}
    return _part_tables("scenes", "Attribute accuracy, scene by scene", "scene", PER_SCENE, systems)


def _part_tables(
    id: str, title: str, corner: str, pattern: re.Pattern[str], systems: dict[str, dict[str, Metric]]
) -> list[Table]:
    """Parts of a whole by system, those of the compared split and then those of `compositions`; none without parts."""
    tables = []
    for split, said in ON_SPLIT.items():
        columns = {name: parts_of(metrics, pattern, split) for name, metrics in systems.items()}
        columns = {name: found for name, found in columns.items() if found}
        rows = {part: Kind(part.replace("_", " "), "percent", 0) for found in columns.values() for part in found}
        if columns.keys() - {JUDGE}:
            tables.append(cross_table(f"{id}{split or ''}", title + said, corner, columns, rows))
    return tables


def parts_of(metrics: dict[str, Metric], pattern: re.Pattern[str], split: str | None = None) -> dict[str, Metric]:
    """The metrics that are parts of a whole by the part's name, such as an attribute's."""
    matches = {path: match for path in metrics if (match := pattern.match(path)) and match["split"] == split}
    return {match["part"]: metrics[path] for path, match in matches.items()}


def judge_table(evaluation: Evaluation) -> Table:
    """How far the judge of the attributes can itself be trusted."""
    metrics = {path: metric for path, metric in evaluation.section("judge").items() if not PER_ATTRIBUTE.match(path)}
    return list_table("judge", "The judge on real pictures it was not trained on", metrics)


def prior_tables(evaluation: Evaluation) -> list[Table]:
    """Bits per code by level and by what the prior is told, and the section's other figures."""
    metrics, others = evaluation.section("prior"), {}
    columns: dict[tuple[str, str | None], dict[str, Metric]] = {}
    for path, metric in metrics.items():
        match = BITS_PER_CODE.fullmatch(path)
        if match is None:
            others[path] = metric
        else:
            columns.setdefault((match["split"], match["told"]), {})[match["level"] or "both"] = metric
    named = {name: columns[told] for told, name in TOLD.items() if told in columns}
    levels = {
        level: Kind(name, "bits", -1) for level, name in LEVELS.items() if any(level in c for c in columns.values())
    }
    bits = cross_table(
        "prior-bits", "Bits per code on held-out pictures, and on train beside them", "codes", named, levels
    )
    rest = list_table("prior-figures", "The prior's other figures", others)
    return [table for table in (bits, rest) if table.rows]


def sweep_tables(evaluation: Evaluation) -> list[Table]:
    """Each score by guidance, across, and temperature, down; the best of each in bold."""
    scores: dict[str, dict[str, dict[str, Metric]]] = {}
    for path, metric in evaluation.section("sweep").items():
        score, guidance, temperature = path.split("/")
        scores.setdefault(score, {}).setdefault(guidance, {})[temperature] = metric
    tables = [_sweep_table(score, columns) for score, columns in scores.items()]
    return [table for table in tables if table is not None]


def _sweep_table(score: str, columns: dict[str, dict[str, Metric]]) -> Table | None:
    """None where the data set has no such score."""
    values = [metric.value for column in columns.values() for metric in column.values() if metric.value is not None]
    if not values:
        return None
    kind = kind_of(score)
    rows = {name: Kind(name, kind.unit, 0) for column in columns.values() for name in column}
    table = cross_table(f"sweep-{score}", f"{kind.label} by guidance and temperature, on val", "", columns, rows)
    for row, name in zip(table.rows, rows, strict=True):
        for across, column in enumerate(columns.values(), start=1):
            if name in column and column[name].value == max(values):
                row[across] = replace(row[across], best=True)
    return table


def latents_table(figures: dict[str, Any]) -> Table:
    """The figures by which the plots can be judged."""
    table = Table("latents-figures", "How far the plots can be trusted", ["", "value"])
    reasons = {name: str(figures.get("tsne_reason") or "not measured") for name in LATENT_NAMES}
    for name, kind in LATENT_NAMES.items():
        if name in figures:
            metric = (
                Metric(figures[name], reason=reasons[name]) if figures[name] is None else Metric(float(figures[name]))
            )
            table.rows.append([Cell(kind.label), table.metric_cell(metric, kind)])
    if figures.get("label_source"):
        table.remark = f"Labels: {figures['label_source']}."
    return table


def costs_table(facts: RunFacts) -> Table:
    """Time, memory and size of every stage."""
    head = ["stage", "wall time", "peak memory", "parameters", "seconds per picture", "device"]
    table = Table("costs", "Time, memory and size, by stage", head)
    total = 0.0
    for stage, manifest in facts.manifests.items():
        total += manifest.get("wall_seconds") or 0.0
        drawing = facts.evaluation.metric(stage, "seconds_per_picture")
        device = Cell(str(manifest.get("device") or "\N{EN DASH}"), wide=True)
        table.rows.append(
            [
                Cell(stage),
                *stage_costs(manifest),
                Cell(write_number(drawing.value, "score") if drawing.value is not None else "\N{EN DASH}"),
                device,
            ]
        )
    if table.rows:
        table.remark = f"All stages together: {write_seconds(total)}."
    return table


def stage_costs(manifest: dict[str, Any]) -> tuple[Cell, Cell, Cell]:
    """Wall time, peak memory and learnt parameters of a stage."""
    return (
        Cell(write_seconds(manifest.get("wall_seconds"))),
        Cell(_write_bytes(manifest.get("peak_memory_bytes"))),
        _of_names(manifest.get("figures", {}), "parameters", "count"),
    )


def missing_table(facts: RunFacts) -> Table:
    """Every figure that is not available, and every stage that has not been run, with the reason."""
    table = Table("missing", "Not available", ["what", "why, and how to get it"])
    for stage in STAGES:
        if stage not in facts.manifests and stage != "report":
            table.rows.append([Cell(f"stage {stage}"), Cell(f"it has not been run; run: make {stage}", wide=True)])
    evaluation = facts.evaluation
    for section, reason in evaluation.reasons.items():
        table.rows.append([Cell(f"section {section}"), Cell(reason, wide=True)])
    places: dict[tuple[str, str], list[str]] = {}
    sections = {name: metrics for name, metrics in evaluation.sections.items() if name != "paired"}
    groups = {system_name(s): m for s, m in evaluation.systems.items()} | sections
    for place, metrics in groups.items():
        for path, metric in metrics.items():
            if metric.value is None:
                places.setdefault((metric.reason, kind_of(path).label), []).append(place)
    labels: dict[tuple[str, str], list[str]] = {}
    for (reason, label), found in places.items():
        labels.setdefault((reason, ", ".join(found)), []).append(label)
    for (reason, where), names in labels.items():
        table.rows.append([Cell("; ".join(names), f"of {where}"), Cell(reason, wide=True)])
    return table


def write_seconds(seconds: float | None) -> str:
    """A duration in the unit that suits it."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 100 else f"{minutes / 60:.1f} h"


def _write_bytes(count: float | None) -> str:
    return "\N{EN DASH}" if count is None else f"{count / 2**30:.2f} GiB"


def _of_names(figures: dict[str, Any], name: str, unit: str) -> Cell:
    """The figures whose name holds `name`, one below the other where there are several."""
    found = {
        path: metric.value for path, metric in flatten(figures).items() if name in path and metric.value is not None
    }
    if not found:
        return Cell("\N{EN DASH}")
    parts = []
    for path, value in found.items():
        rest = path.replace(name, "").strip("_/ ").replace("_", " ")
        parts.append(f"{write_number(value, unit)}{f' ({rest})' if rest and len(found) > 1 else ''}")
    return Cell("; ".join(parts))
