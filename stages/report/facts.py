"""Everything the page is made from, read once: manifests, metrics and pictures of a run's published artefacts."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import StageError
from stages.evaluation.compared import COMPARED
from stages.metrics import TABLE
from stages.pipeline import STAGES
from stages.report.metric import Metric, flatten
from stages.workspace import Workspace

log = logging.getLogger("stages.report")


@dataclass(frozen=True)
class Evaluation:
    """`evaluation/metrics.json`, parsed."""

    split: str = ""
    systems: dict[str, dict[str, Metric]] = field(default_factory=dict)
    """By system, then by the metric's path."""
    sections: dict[str, dict[str, Metric]] = field(default_factory=dict)
    """What stands beside the systems (vqvae, blip, prior, judge, ...), by the metric's path."""
    confusion: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By system, then by attribute: values `asked` and `shown`, and `counts` of pictures, asked down, shown across."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a section holds nothing, by section."""

    def metric(self, system: str, path: str) -> Metric:
        """The metric, or one that is not available, with the reason."""
        if system not in self.systems:
            return Metric(None, reason=f"the system '{system}' was not evaluated")
        return self.systems[system].get(path, Metric(None, reason="not among the evaluated metrics"))

    def section(self, name: str) -> dict[str, Metric]:
        return self.sections.get(name, {})


@dataclass(frozen=True)
class Pictures:
    """The evaluated pictures, row by row the same prompt in every system."""

    prompts: list[str]
    seeds: list[Any]
    systems: dict[str, np.ndarray]
    """(n,H,W,3) uint8 by system, memory-mapped."""


@dataclass(frozen=True)
class RunFacts:
    """What a run has published."""

    run: str
    manifests: dict[str, dict[str, Any]]
    """By stage, only of those that are there."""
    directories: dict[str, Path]
    evaluation: Evaluation
    pictures: Pictures

    def figures(self, stage: str) -> dict[str, Any]:
        """The stage's own counts and figures; empty when it has not been run."""
        figures: dict[str, Any] = self.manifests.get(stage, {}).get("figures", {})
        return figures


def read_facts(workspace: Workspace) -> RunFacts:
    """Reads a run's published artefacts; a stage that has not been run is simply not there.

    Raises:
        StageError: a file is there but is not what it should be.
    """
    manifests = {}
    for stage in STAGES:
        if stage != "report" and (workspace.directory(stage) / "manifest.json").is_file():
            manifests[stage] = workspace.manifest(stage)
    directories = {stage: workspace.directory(stage) for stage in manifests}
    evaluation, pictures = Evaluation(), Pictures([], [], {})
    if "evaluation" in manifests:
        evaluation = parse_evaluation(read_json(directories["evaluation"] / "metrics.json"))
        pictures = read_pictures(directories["evaluation"] / "pictures")
    for stage in ("vqvae", "blip", "prior"):
        if stage in manifests and not evaluation.section(stage) and (directories[stage] / TABLE).is_file():
            evaluation.sections[stage] = flatten(read_json(directories[stage] / TABLE))
    return RunFacts(workspace.config.run, manifests, directories, evaluation, pictures)


def parse_evaluation(raw: dict[str, Any]) -> Evaluation:
    """The parsed `metrics.json`; a system or section that is null counts as absent."""
    systems = {name: flatten(metrics) for name, metrics in (raw.get("systems") or {}).items() if metrics}
    known = [name for name in COMPARED if name in systems]
    ordered = {name: systems[name] for name in [*known, *(name for name in systems if name not in known)]}
    sections = {
        name: flatten(section) for name, section in raw.items() if name != "systems" and isinstance(section, dict)
    }
    confusion = {name: tables for name, tables in (raw.get("confusion") or {}).items() if isinstance(tables, dict)}
    reasons = {
        name: str(section["reason"])
        for name, section in raw.items()
        if isinstance(section, dict) and section.keys() == {"reason"}
    }
    return Evaluation(str(raw.get("split") or ""), ordered, sections, confusion, reasons)


def read_pictures(directory: Path) -> Pictures:
    """The evaluated pictures of every system whose rows match `records.json`; others are left out with a warning."""
    if not (directory / "records.json").is_file():
        return Pictures([], [], {})
    records = read_json(directory / "records.json")
    systems = {}
    for path in sorted(directory.glob("*.npy")):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.ndim == 4 and array.dtype == np.uint8 and len(array) == len(records):
            systems[path.stem] = array
        else:
            log.warning("report: %s has shape %s, expected (%d,H,W,3) uint8; left out", path, array.shape, len(records))
    shown = [name for name in COMPARED if name in systems and name != "prior_shuffled"]
    others = [name for name in systems if name not in COMPARED]
    ordered = {name: systems[name] for name in [*shown, *others]}
    return Pictures([str(r.get("prompt", "")) for r in records], [r.get("seed") for r in records], ordered)


def read_json(path: Path) -> Any:
    """Parsed JSON.

    Raises:
        StageError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read ({error}); run: make {path.parent.name}") from None


def system_name(system: str) -> str:
    """What a system is called on the page."""
    return COMPARED[system].title if system in COMPARED else system[:1].upper() + system[1:]
