"""Where artefacts live: a folder per stage, published whole or not at all, with a manifest that says what made it.

A stage is up to date when its manifest holds the config section, the seed and the sha256 of every input manifest that
running it now would use, and every file it lists is there with its size.
"""

import dataclasses
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from stages.config import RunConfig
from stages.errors import StageError
from stages.pipeline import STAGES

MANIFEST = "manifest.json"
VERSIONED_PACKAGES = ("torch", "pytorch-lightning", "transformers", "diffusers", "lmdb", "numpy", "scikit-learn")


@dataclass
class Output:
    """An artefact in the making."""

    directory: Path
    """Temporary folder; becomes the stage's folder when the block ends well."""
    figures: dict[str, Any] = field(default_factory=dict)
    """The stage's own counts and figures, for the manifest."""


class Workspace:
    """The folders of one run.

    Args:
        config: the run's typed config; `config.run` must be set.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.root = Path(config.checkpoints) / config.run
        self._started = time.monotonic()
        self._at_start: dict[str, dict[str, Any]] = {}

    # ---- reading -----------------------------------------------------------------------------------------------

    def directory(self, stage: str) -> Path:
        """The folder of a stage's artefact, there or not."""
        if stage == "data":
            return Path(self.config.datasets) / self.config.data.name
        return self.root / stage

    def manifest(self, stage: str) -> dict[str, Any]:
        """The manifest of a published stage.

        Raises:
            StageError: there is none, or it is not whole.
        """
        path = self.directory(stage) / MANIFEST
        if not path.is_file():
            raise StageError(f"{path} is missing: the stage '{stage}' has not been run; run: make {stage}")
        try:
            manifest: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise StageError(
                f"{path} is not a manifest ({error}); remove {path.parent} and run: make {stage}"
            ) from None
        return manifest

    def require(self, stage: str) -> Path:
        """The folder of an input, after checking that it is whole and that today's config would make the same.

        Raises:
            StageError: it is missing, damaged, or was made by other settings (naming the key and both values).
        """
        reason = self.why_stale(stage)
        if reason is not None:
            raise StageError(f"{reason}; run: make {stage}")
        return self.directory(stage)

    def why_stale(self, stage: str) -> str | None:
        """Why a stage would have to run again, in words; None when it is up to date."""
        return self._why_stale(stage, {})

    def _why_stale(self, stage: str, known: dict[str, str | None]) -> str | None:
        """As `why_stale`; `known` holds the answers found so far, since stages share inputs."""
        if stage not in known:
            known[stage] = self._find_reason(stage, known)
        return known[stage]

    def _find_reason(self, stage: str, known: dict[str, str | None]) -> str | None:
        folder = self.directory(stage)
        if not (folder / MANIFEST).is_file():
            return f"{folder / MANIFEST} is missing: the stage '{stage}' has not been run"
        manifest = self.manifest(stage)
        damaged = _damaged_file(folder, manifest.get("files", {}))
        if damaged is not None:
            return f"{damaged} is missing or cut short"
        for name in STAGES[stage].inputs_of(self.config):
            reason = self._why_stale(name, known)
            if reason is not None:
                return reason
        return _difference(folder, manifest, self._wanted(stage))

    def digest(self, stage: str) -> str:
        """sha256 of a published stage's manifest: the key of everything made from it."""
        return hashlib.sha256((self.directory(stage) / MANIFEST).read_bytes()).hexdigest()

    def beside(self, run: str) -> "Workspace":
        """Another run with the same folders; its artefacts may have been made by other settings.

        Raises:
            StageError: it cannot be the name of a run.
        """
        try:
            return Workspace(dataclasses.replace(self.config, run=run))
        except ValueError as error:
            raise StageError(str(error)) from None

    # ---- writing -----------------------------------------------------------------------------------------------

    def scratch(self, stage: str) -> Path:
        """Folder for resuming a stage: kept when it is interrupted, emptied when it would now make something else."""
        folder = self.root / ".work" / stage
        wanted = json.dumps(self._wanted(stage), sort_keys=True)
        key = folder / "fingerprint.json"
        if key.is_file() and key.read_text() == wanted:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write_atomically(key, wanted)
        return folder

    @contextmanager
    def publish(self, stage: str) -> Iterator[Output]:
        """A folder to write an artefact into; on success its manifest is written last and it takes the old one's place.

        Training curves left in the stage's scratch folder go with it. On failure nothing of it remains.
        """
        final = self.directory(stage)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.parent / f".{final.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        output = Output(partial)
        try:
            yield output
            curves = self.root / ".work" / stage / "curves.jsonl"
            if curves.is_file():
                shutil.copy(curves, partial / "curves.jsonl")
            _write_atomically(partial / MANIFEST, json.dumps(self._describe(stage, output), indent=2) + "\n")
            _replace_folder(partial, final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(self.root / ".work" / stage, ignore_errors=True)

    @contextmanager
    def locked(self, stage: str) -> Iterator[None]:
        """Keeps a second process from running the same stage of the same run, or the same part of it.

        What is published inside was made from the inputs that were there when it began.

        Raises:
            StageError: another process is at it, or what lies in the artefact's place was not made here.
        """
        _refuse_what_is_not_ours(self.directory(stage))
        part = getattr(getattr(self.config, stage), "part", "")
        names = [self.directory(stage).name, part, "lock"]
        lock = self.directory(stage).parent / ("." + ".".join(name for name in names if name))
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StageError(f"another process is running '{stage}' of this run ({lock}); wait for it") from None
            self._at_start[stage] = self._wanted(stage)
            try:
                yield
            except BaseException:
                self._keep_time(stage)
                raise
            finally:
                del self._at_start[stage]

    def _keep_time(self, stage: str) -> None:
        """Notes the time that an unfinished stage has taken, so that its manifest can count it."""
        notes = self.root / ".work" / stage / "seconds.json"
        if notes.parent.is_dir():
            _write_atomically(notes, json.dumps(self._seconds(stage)))

    def _seconds(self, stage: str) -> float:
        """Wall time of the stage in this process and in those that were interrupted before it, seconds."""
        notes = self.root / ".work" / stage / "seconds.json"
        earlier = float(json.loads(notes.read_text())) if notes.is_file() else 0.0
        return earlier + time.monotonic() - self._started

    def _wanted(self, stage: str) -> dict[str, Any]:
        """What the manifest of an up-to-date artefact says of its making."""
        inputs = {
            name: self.digest(name)
            for name in STAGES[stage].inputs_of(self.config)
            if (self.directory(name) / MANIFEST).is_file()
        }
        for run in STAGES[stage].rivals_of(self.config):
            rival = self.beside(run)
            if (rival.directory("diffusion") / MANIFEST).is_file():
                inputs[f"diffusion of {run}"] = rival.digest("diffusion")
        digest_source = STAGES[stage].load_source_digest()
        source = (digest_source(self.config.data) or self._source_of(stage)) if digest_source else None
        if source is not None:
            inputs["source"] = source
        chosen = getattr(self.config, stage)
        section = chosen.fingerprint() if hasattr(chosen, "fingerprint") else dataclasses.asdict(chosen)
        for setting in STAGES[stage].settings:
            value = attrgetter(setting)(self.config)
            section[setting] = value if isinstance(value, str) else dataclasses.asdict(value)
        return {"config": json.loads(json.dumps(section)), "seed": self.config.seed, "inputs": inputs}

    def _source_of(self, stage: str) -> str | None:
        """What an artefact was made from: pictures may be moved away, what was made of them still stands."""
        if not (self.directory(stage) / MANIFEST).is_file():
            return None
        source: str | None = self.manifest(stage).get("inputs", {}).get("source")
        return source

    def _describe(self, stage: str, output: Output) -> dict[str, Any]:
        return {
            "stage": stage,
            "run": self.config.run,
            **(self._at_start.get(stage) or self._wanted(stage)),
            "figures": output.figures,
            "device": _device(),
            "versions": {"python": platform.python_version()} | _versions(),
            "git_commit": _git_commit(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(self._seconds(stage), 2),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "files": {
                str(path.relative_to(output.directory)): path.stat().st_size
                for path in sorted(output.directory.rglob("*"))
                if path.is_file()
            },
        }


def _damaged_file(folder: Path, sizes: dict[str, int]) -> Path | None:
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return path
    return None


def _difference(folder: Path, manifest: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """The first thing in which an artefact's making differs from what today's config asks for, in words."""
    made = {key: manifest.get(key) for key in ("config", "seed", "inputs")}
    for key, then, now in _differing_leaves(made, wanted, ""):
        if key.startswith("inputs."):
            return f"{folder} was made from another '{key.removeprefix('inputs.')}' than the one that is there now"
        name = f"{manifest.get('stage', folder.name)}.{key.removeprefix('config.')}" if "config." in key else key
        return f"{folder} was made by other settings ({name}: {then!r} there, {now!r} asked for)"
    return None


def _differing_leaves(then: Any, now: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            yield from _differing_leaves(then.get(key), now.get(key), f"{prefix}.{key}".lstrip("."))
    elif then != now:
        yield prefix, then, now


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def _refuse_what_is_not_ours(folder: Path) -> None:
    """A stage puts its artefact in the place of the folder that is there: that must not be somebody's own files."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise StageError(
            f"{folder} holds files and no {MANIFEST}, so this program did not make it, and would replace it: "
            "choose another name, or move the files"
        )


def _replace_folder(new: Path, final: Path) -> None:
    """Puts `new` in the place of `final`; a crash between the two renames leaves no artefact, never half of one."""
    old = final.parent / f".{final.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _versions() -> dict[str, str]:
    found = {}
    for package in VERSIONED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """The commit of this source tree; None outside a checkout, or without git."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    threads = torch.get_num_threads() if torch is not None else 1
    return f"{platform.machine()} CPU, {threads} threads"
