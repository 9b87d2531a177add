"""The tables that set runs beside each other. Differences are to the run that was named first."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from stages.evaluation.compared import COMPARED
from stages.report.compare.runs import COMPARED_STAGES, Run
from stages.report.comparisons import of_differences
from stages.report.facts import system_name
from stages.report.metric import COMPOSITIONS, NOT_AVAILABLE, Kind, Metric, intervals_apart, kind_of, write_value
from stages.report.sections import stage_costs, write_seconds
from stages.report.table import Cell, Table, cross_table

SYSTEMS = ("prior", "diffusion")
SHOWN = (
    *("attribute_accuracy", "attribute_worst", "attribute_exact", f"attribute_accuracy{COMPOSITIONS}"),
    *("itm_probability", "itc_cosine", "bleu4", "bleu4_sentence", "meteor", "rougeL", "cider", "lpips", "mse"),
    *("frechet_blip", "copied_blip", "seconds_per_picture"),
)
"""Metrics of a system that are compared; each in the order of the table."""
MEASURED = (
    *(("prior", f"val_nll_bits_per_code{told}") for told in ("", "_shuffled", "_uncaptioned")),
    *(("vqvae", path) for path in ("psnr_db", "usage_top", "usage_bottom")),
    *(("blip", path) for path in ("itm_f1", "itm_hard_f1", "text_to_image_r1", "text_to_image_r10")),
    ("judge", "accuracy_mean"),
)
"""Figures beside the systems that are compared: section and path."""
NOT_PAIRED = (
    "Under each value its 95 % interval and the number n of samples. Not paired: the values of single samples are not "
    "published, so a difference is that of two means, and bold where their intervals do not overlap. That rule is "
    "strict: of the same prompts a difference can be a true one without it."
)
_DASH = "\N{EN DASH}"


def system_table(runs: Sequence[Run], system: str) -> Table:
    """One system's headline metrics by run; no rows where no run has them."""
    paths = [path for path in SHOWN if any(path in run.facts.evaluation.systems.get(system, {}) for run in runs)]
    rows = {path: kind_of(path) for path in paths}
    return _beside(f"system-{system}", system_name(system), runs, rows, lambda run, path: run.metric(system, path))


def other_systems(runs: Sequence[Run]) -> list[str]:
    """Controls and ceilings that at least two of the runs have scored."""
    counts = {name: sum(name in run.facts.evaluation.systems for run in runs) for name in COMPARED}
    return [name for name, count in counts.items() if count > 1 and name not in SYSTEMS]


def measured_table(runs: Sequence[Run]) -> Table:
    """What BLIP, VQ-VAE, prior and judge were found to do, by run."""
    rows = {
        f"{section}/{path}": kind_of(path)._replace(label=f"{section}: {kind_of(path).label}")
        for section, path in MEASURED
        if any(path in run.facts.evaluation.section(section) for run in runs)
    }
    return _beside("measured", "What the stages are measured by", runs, rows, lambda run, key: _measured(run, key))


def _measured(run: Run, key: str) -> Metric:
    section, _, path = key.partition("/")
    return run.measured(section, path)


def _beside(
    id: str, title: str, runs: Sequence[Run], rows: dict[str, Kind], find: Callable[[Run, str], Metric]
) -> Table:
    """Metrics down, runs across, then each run's difference to the first."""
    found = {run.name: {path: find(run, path) for path in rows} for run in runs}
    table = cross_table(id, title, "metric", found, rows)
    first, *others = runs
    for row, (path, kind) in zip(table.rows, rows.items(), strict=True):
        row += [_difference(found[first.name][path], found[other.name][path], kind) for other in others]
    table.head += [f"{other.name} minus {first.name}" for other in others]
    return table


def _difference(first: Metric, other: Metric, kind: Kind) -> Cell:
    if first.value is None or other.value is None:
        return Cell(_DASH, missing=True)
    difference = other.value - first.value
    text = write_value(Metric(difference), of_differences(kind).unit)
    return Cell(f"+{text}" if difference > 0 else text, best=intervals_apart(first, other) is True)


def alike_table(runs: Sequence[Run]) -> Table:
    """Whether the figures of the runs are of the same prompts, from the same judge, BLIP and data."""
    table = Table("alike", "What is the same", ["", *(run.name for run in runs), "the same?"])
    for name, describe in _CONDITIONS.items():
        told = [describe(run) for run in runs]
        cells = [Cell(said) if key else Cell(NOT_AVAILABLE, missing=True) for said, key in told]
        keys = {key for _, key in told}
        same = _DASH if "" in keys else "yes" if len(keys) == 1 else "no"
        table.rows.append([Cell(name), *cells, Cell(same, best=same == "no")])
    stale = [
        f"the evaluation of '{run.name}' is of another '{stage}' than the one that is there now"
        for run in runs
        for stage in run.stale_evaluation()
    ]
    table.remark = "Artefacts are named by the first digits of their digests."
    if stale:
        table.remark += f" Careful: {'; '.join(stale)}."
    return table


def same_prompts(runs: Sequence[Run]) -> bool:
    """Whether every run was evaluated on the same prompts, in the same order, with the same seeds."""
    keys = {_prompts(run)[1] + _seeds(run)[1] for run in runs}
    return len(keys) == 1 and all(run.facts.pictures.prompts for run in runs)


def _data(run: Run) -> tuple[str, str]:
    digest = run.made_from("data")
    name = str(run.facts.manifests.get("data", {}).get("config", {}).get("name") or "another than is there now")
    return f"{name} ({digest[:8]})", digest


def _split(run: Run) -> tuple[str, str]:
    return run.facts.evaluation.split, run.facts.evaluation.split


def _prompts(run: Run) -> tuple[str, str]:
    prompts = run.facts.pictures.prompts
    return f"{len(prompts)}", json.dumps(prompts) if prompts else ""


def _seeds(run: Run) -> tuple[str, str]:
    seeds = run.facts.pictures.seeds
    return ", ".join(dict.fromkeys(str(seed) for seed in seeds)), json.dumps(seeds) if seeds else ""


def _artefact(stage: str) -> Callable[[Run], tuple[str, str]]:
    def describe(run: Run) -> tuple[str, str]:
        return run.digest(stage)[:8], run.digest(stage)

    return describe


def _judge(run: Run) -> tuple[str, str]:
    digest = run.digest("evaluation", "judge.safetensors")
    return digest[:8], digest


def _manifest_says(stage: str, key: str) -> Callable[[Run], tuple[str, str]]:
    def describe(run: Run) -> tuple[str, str]:
        said = str(run.facts.manifests.get(stage, {}).get(key) or "")
        return said[:12] if key == "git_commit" else said, said

    return describe


_CONDITIONS: dict[str, Callable[[Run], tuple[str, str]]] = {
    "Data set": _data,
    "Split": _split,
    "Prompts": _prompts,
    "Seed of the pictures": _seeds,
    "Judge of the attributes": _judge,
    "BLIP, which captions and matches": _artefact("blip"),
    "VQ-VAE": _artefact("vqvae"),
    "Prior": _artefact("prior"),
    "Diffusion": _artefact("diffusion"),
    "Commit of the evaluation": _manifest_says("evaluation", "git_commit"),
    "Device of the prior's training": _manifest_says("prior", "device"),
}
"""What decides whether figures can be compared: what is shown of a run, and what must be equal; empty: not there."""


def cost_table(runs: Sequence[Run]) -> Table:
    """Wall time, peak memory and parameters of each stage, by run."""
    head = [f"{name}: {run.name}" for name in ("wall time", "peak memory", "parameters") for run in runs]
    table = Table("costs", "Time, memory and size, by stage", ["stage", *head])
    for stage in COMPARED_STAGES:
        by_run = [_cost_cells(run, stage, table) for run in runs]
        table.rows.append([Cell(stage), *(cell for costs in zip(*by_run, strict=True) for cell in costs)])
    totals = [f"{run.name} {write_seconds(total_seconds(run))}" for run in runs]
    table.remark = f"These stages together: {', '.join(totals)}."
    return table


def _cost_cells(run: Run, stage: str, table: Table) -> list[Cell]:
    if stage not in run.facts.manifests:
        return [Cell(NOT_AVAILABLE, notes=table.note(run.why_missing(stage)), missing=True)] * 3
    manifest = run.facts.manifests[stage]
    seconds, *others = stage_costs(manifest)
    maker = manifest.get("run")
    shared = stage != "data" and maker not in (None, run.name)
    note = table.note(f"shared with the run '{maker}', which made it") if shared else ()
    return [Cell(seconds.text, notes=note), *others]


def total_seconds(run: Run) -> float:
    """Wall time of the compared stages, seconds; a shared artefact counts in full."""
    manifests = run.facts.manifests
    return sum(manifests[stage].get("wall_seconds") or 0.0 for stage in COMPARED_STAGES if stage in manifests)


def settings_table(runs: Sequence[Run]) -> Table:
    """Every setting that is not the same in all runs, of the stages that all of them have run."""
    table = Table("settings", "Settings that differ", ["setting", *(run.name for run in runs)])
    for stage in COMPARED_STAGES:
        manifests = [run.facts.manifests.get(stage) for run in runs]
        known = [_leaves(m.get("config") or {}) | {"seed": m.get("seed")} for m in manifests if m is not None]
        if len(known) < len(runs):
            continue
        for key in dict.fromkeys(key for leaves in known for key in leaves):
            said = [_write_setting(leaves[key]) if key in leaves else None for leaves in known]
            if len(set(said)) > 1:
                table.rows.append([Cell(f"{stage}.{key}"), *(_setting_cell(text, table) for text in said)])
    missing = [
        f"{stage} in '{run.name}'" for stage in COMPARED_STAGES for run in runs if stage not in run.facts.manifests
    ]
    if missing:
        table.remark = f"Not there, so not compared: {', '.join(missing)}."
    return table


def _setting_cell(text: str | None, table: Table) -> Cell:
    if text is None:
        return Cell(_DASH, notes=table.note("there was no such setting when the stage was run"), missing=True)
    return Cell(text, wide=True)


def _leaves(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in section.items():
        nested = isinstance(value, dict) and value
        found |= _leaves(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def _write_setting(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
