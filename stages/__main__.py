"""The command line: `python -m stages <stage> --config configs/demo.yaml [--section.key value ...]`, nothing else."""

import dataclasses
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import Interrupted, StageError
from stages.pipeline import STAGES

if TYPE_CHECKING:
    from stages.workspace import Workspace

log = logging.getLogger("stages")
# What libraries say when a write fails for want of space: the system, torch.save, numpy.save
_FULL_DISK = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "PytorchStreamWriter failed", "requested and")


def main(arguments: list[str]) -> int:
    """Runs one stage or `all`; the exit status: 0 done or up to date, 2 what the person can mend, 130 stopped."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for chatty in ("httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    debug = "--debug" in arguments
    verb, *rest = [argument for argument in arguments if argument != "--debug"]
    try:
        if verb == "all":
            return _run_all(rest)
        if verb == "weights":
            return _fetch_weights(rest)
        if verb == "compare":
            return _compare_runs(rest)
        if verb not in STAGES:
            raise StageError(f"there is no stage '{verb}'; there are: all weights compare {' '.join(STAGES)}")
        _run_stage(verb, rest)
        return 0
    except StageError as error:
        if debug:
            raise
        print(f"{'' if isinstance(error, Interrupted) else 'error: '}{error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped; the same command goes on from what is done", file=sys.stderr)
        return Interrupted.exit_status


def _run_stage(name: str, options: list[str]) -> None:
    from stages.workspace import Workspace

    workspace = Workspace(parse_config(name, options))
    with _explained(name, workspace.directory(name)):
        _run_if_stale(name, workspace)


def _run_if_stale(name: str, workspace: "Workspace") -> None:
    if workspace.why_stale(name) is None:
        log.info("%s: up to date (%s)", name, workspace.directory(name))
        return
    for needed in STAGES[name].inputs_of(workspace.config):
        workspace.require(needed)
    with workspace.locked(name):
        started = time.monotonic()
        STAGES[name].load_run()(workspace.config, workspace)
        published = workspace.why_stale(name) is None  # a shard of the codes is no artefact yet
        where = f" ({workspace.directory(name)})" if published else ""
        log.info("%s: done in %.0f s%s", name, time.monotonic() - started, where)


def _run_all(options: list[str]) -> int:
    """Every stage in order, each in a process of its own so that its memory goes back and its peak is its own."""
    from stages.workspace import Workspace

    config = parse_config("all", options)
    for number, name in enumerate(STAGES, start=1):
        if Workspace(config).why_stale(name) is None:
            log.info("[%d/%d] %s: up to date", number, len(STAGES), name)
            continue
        log.info("[%d/%d] %s: %s", number, len(STAGES), name, STAGES[name].summary)
        status = _run_process([sys.executable, "-m", "stages", name, *options])
        if status != 0:
            return status
    workspace = Workspace(config)
    log.info("pictures: %s", workspace.directory("samples") / "grid.png")
    log.info("metrics:  %s", workspace.directory("evaluation") / "metrics.json")
    log.info("report:   %s", workspace.directory("report") / "index.html")
    return 0


def _fetch_weights(options: list[str]) -> int:
    config = parse_config("weights", options)
    if not (config.blip.pretrained or config.diffusion.pretrained):
        reason = "set blip.pretrained or diffusion.pretrained, or train from scratch without weights"
        raise StageError(f"the config names no checkpoint: {reason}")
    if config.blip.pretrained:
        from stages.blip.weights import fetch_weights

        fetch_weights(config.blip)
    if config.diffusion.pretrained:
        from stages.diffusion.pretrained.checkpoint import find_checkpoint

        found = find_checkpoint(config.diffusion.pretrained, config.diffusion.pretrained_revision)
        log.info("weights: %s is in %s", found.name, found.folder)
    return 0


def _compare_runs(options: list[str]) -> int:
    from stages.report.compare.command import compare_runs, folder_of

    first_option = next((place for place, option in enumerate(options) if option.startswith("-")), len(options))
    names, config = options[:first_option], parse_config("compare", options[first_option:])
    with _explained("compare", folder_of(names, config)):
        compare_runs(names, config)
    return 0


def _run_process(command: list[str]) -> int:
    """Exit status of a stage's process. Who stops this one stops it too, and it has the time to save where it stands.

    Ctrl-C goes to both; SIGTERM, which goes to one, is passed on.

    Raises:
        StageError: something else has ended it.
    """
    process: subprocess.Popen[bytes] | None = None
    too_early = []

    def stop(number: int, frame: object) -> None:
        if number == signal.SIGTERM and process is None:
            too_early.append(number)
        elif number == signal.SIGTERM and process is not None:
            process.send_signal(number)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(command)
        for number in too_early:
            process.send_signal(number)
        status = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if status >= 0:
        return status
    if -status not in previous:
        how = signal.Signals(-status).name
        raise StageError(f"the stage's process was ended by {how}: was there too little memory, or room on the disk?")
    return Interrupted.exit_status


def parse_config(verb: str, options: list[str]) -> Any:
    """The typed config of the run from YAML and overrides.

    Raises:
        StageError: an unknown key, a wrong type or an impossible value, naming the key.
    """
    from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

    from stages.config import RunConfig

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=f"python -m stages {verb}", exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML of the run, such as configs/demo.yaml")
    parser.add_class_arguments(RunConfig)
    try:
        parsed = parser.parse_args(_config_first(options))
        sources = [str(path) for path in parsed.pop("config", None) or []]
        config = RunConfig(**vars(parser.instantiate(parsed)))
    except (ArgumentError, ValueError, TypeError) as error:
        raise StageError(f"{_config_file(options)}: {_one_line(error)}") from None
    if not sources and not config.run:
        raise StageError("no config given; name one, such as --config configs/demo.yaml")
    return config if config.run else dataclasses.replace(config, run=Path(sources[0]).stem)


def _config_first(options: list[str]) -> list[str]:
    """The same, `--config` moved to the front: what is said beside the file counts, whatever is said first."""
    named = [place for place, option in enumerate(options) if option == "--config"]
    config = {place for start in named for place in (start, start + 1)}
    config |= {place for place, option in enumerate(options) if option.startswith("--config=")}
    first = [option for place, option in enumerate(options) if place in config]
    return first + [option for place, option in enumerate(options) if place not in config]


def _config_file(options: list[str]) -> str:
    """What `--config` names, for messages."""
    for option, following in zip(options, [*options[1:], ""], strict=True):
        if option == "--config" or option.startswith("--config="):
            return option.partition("=")[2] or following
    return "config"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextmanager
def _explained(verb: str, directory: Path) -> Iterator[None]:
    """A full disk or another trouble with files as one line; the program's own mistakes stay what they are."""
    try:
        yield
    except (StageError, KeyboardInterrupt):
        raise
    except Exception as error:
        explanation = _explanation(error, directory)
        if explanation is None:
            raise
        raise StageError(f"{verb}: {explanation}") from error


def _explanation(error: BaseException | None, directory: Path) -> str | None:
    while error is not None:
        if any(sign in str(error) for sign in _FULL_DISK):
            where = getattr(error, "filename", None) or f"{directory}, or the folder beside it that is being written"
            return f"{where}: no space left on the disk; free some and run the same command again"
        if isinstance(error, OSError) and error.strerror:
            return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        error = error.__cause__ or error.__context__
    return None


def _overview() -> str:
    lines = ["usage: python -m stages <stage> --config configs/demo.yaml [--section.key value ...] [--debug]", ""]
    lines += [f"  {stage.name:<11} {stage.summary}" for stage in STAGES.values()]
    lines.append(f"  {'all':<11} every stage in this order")
    lines.append(f"  {'weights':<11} fetch the pretrained checkpoints that the config names")
    lines.append(f"  {'compare':<11} set runs beside each other: compare <run> <run> --config configs/demo.yaml")
    return "\n".join([*lines, "", "options of a stage: <stage> --help"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
