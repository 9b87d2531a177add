"""The runs that are compared: which there are, and what each has published."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.config import RunConfig
from stages.errors import StageError
from stages.pipeline import STAGES
from stages.report.facts import RunFacts, read_facts, read_json
from stages.report.metric import Metric
from stages.workspace import MANIFEST, Workspace

MOST_RUNS = 8
"""As many as there are colours that can be told apart."""
COMPARED_STAGES = [name for name in STAGES if name not in ("samples", "report")]
"""Stages whose costs and settings are compared: what a person paints or looks at on the way is no part of a run."""


@dataclass(frozen=True)
class Run:
    """One of the runs."""

    name: str
    facts: RunFacts

    def digest(self, stage: str, file: str = MANIFEST) -> str:
        """sha256 of a published file, the stage's manifest if not said otherwise; empty when it is not there."""
        path = self.facts.directories[stage] / file if stage in self.facts.directories else None
        return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.is_file() else ""

    def made_from(self, stage: str) -> str:
        """sha256 of the manifest of the stage that the run's artefacts were made from; empty when none says."""
        inputs = (manifest.get("inputs") or {} for manifest in self.facts.manifests.values())
        return next((str(digests[stage]) for digests in inputs if stage in digests), "")

    def why_missing(self, stage: str) -> str:
        """Why a stage's artefact is not there."""
        if stage == "data" and self.made_from("data"):
            return f"the data set that '{self.name}' was made from is no longer there as it was"
        return f"'{self.name}': the stage '{stage}' has not been run; run: make {stage}"

    def metric(self, system: str, path: str) -> Metric:
        """A figure of one of the systems, or the reason why there is none."""
        if "evaluation" not in self.facts.manifests:
            return Metric(None, reason=self.why_missing("evaluation"))
        return self.facts.evaluation.metric(system, path)

    def measured(self, section: str, path: str) -> Metric:
        """A figure that stands beside the systems, or the reason why there is none."""
        if path in self.facts.evaluation.section(section):
            return self.facts.evaluation.section(section)[path]
        if "evaluation" not in self.facts.manifests:
            return Metric(None, reason=self.why_missing("evaluation"))
        why = self.facts.evaluation.reasons.get(section, "not among what its evaluation holds")
        return Metric(None, reason=f"'{self.name}': {why}")

    def stale_evaluation(self) -> list[str]:
        """Stages whose artefact is another one by now than the one that was evaluated."""
        inputs = self.facts.manifests.get("evaluation", {}).get("inputs") or {}
        return [stage for stage, digest in inputs.items() if self.digest(stage) and self.digest(stage) != digest]


def read_runs(names: Sequence[str], config: RunConfig) -> list[Run]:
    """What these runs have published, in this order.

    Raises:
        StageError: there are fewer than two or too many, one is named twice or is not there; or a published file
            cannot be read.
    """
    there = published_runs(Path(config.checkpoints))
    listed = f"in {config.checkpoints} there are: {', '.join(there)}" if there else f"in {config.checkpoints} are none"
    unknown = [name for name in names if name not in there]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if unknown:
        raise StageError(f"compare: there is no run '{unknown[0]}'; {listed}")
    if twice:
        raise StageError(f"compare: the run '{twice[0]}' is named twice; {listed}")
    if not 2 <= len(names) <= MOST_RUNS:
        got = " ".join(names) or "none"
        raise StageError(f'compare: name 2 to {MOST_RUNS} runs, as in RUNS="a b", got {got}; {listed}')
    return [_read_run(name, config) for name in names]


def published_runs(checkpoints: Path) -> list[str]:
    """Names of the folders that hold at least one published stage."""
    found = {path.parent.parent.name for stage in STAGES for path in checkpoints.glob(f"*/{stage}/{MANIFEST}")}
    return sorted(found)


def _read_run(name: str, config: RunConfig) -> Run:
    """A run with its own data set, which need not be the config's: it is known by its manifest's digest."""
    wanted = _recorded_data(Path(config.checkpoints) / name)
    for manifest in sorted(Path(config.datasets).glob(f"*/{MANIFEST}")):
        if hashlib.sha256(manifest.read_bytes()).hexdigest() == wanted:
            data = replace(config.data, name=manifest.parent.name)
            return Run(name, read_facts(Workspace(replace(config, run=name, data=data))))
    facts = read_facts(Workspace(replace(config, run=name)))
    without = {stage: manifest for stage, manifest in facts.manifests.items() if stage != "data"}
    return Run(name, replace(facts, manifests=without, directories={s: facts.directories[s] for s in without}))


def _recorded_data(run: Path) -> str:
    """sha256 of the manifest of the data set that a run was made from; empty when no stage of it says."""
    for path in sorted(run.glob(f"*/{MANIFEST}")):
        digest = (read_json(path).get("inputs") or {}).get("data")
        if digest:
            return str(digest)
    return ""
