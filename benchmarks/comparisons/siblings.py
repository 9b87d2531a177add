"""Runs beside a run, such as `demo-codes`, that share its artefacts and train one stage otherwise.

Nothing is copied (hard links), a stopped comparison goes on where it was, and a sibling can be painted from and
evaluated as any run can.
"""

import os
import shutil
import sys
from collections.abc import Sequence

from stages.__main__ import main, parse_config
from stages.workspace import Workspace


def run_stage(stage: str, options: list[str]) -> Workspace:
    """A stage in this process; its run's workspace.

    Raises:
        SystemExit: the stage could not be run, and has said why.
    """
    status = main([stage, *options])
    if status != 0:
        sys.exit(status)
    return Workspace(parse_config(stage, options))


def run_sibling(own: Workspace, name: str, shared: Sequence[str], stage: str, options: list[str]) -> Workspace:
    """The stage, of the run `<run>-<name>`, which shares those stages of the own run that are up to date.

    Raises:
        SystemExit: the stage could not be run, and has said why.
    """
    options = [*options, "--run", f"{own.config.run}-{name}"]
    _share(own, Workspace(parse_config(stage, options)), shared)
    return run_stage(stage, options)


def _share(own: Workspace, other: Workspace, stages: Sequence[str]) -> None:
    for stage in stages:
        if own.why_stale(stage) is not None:
            continue
        if other.why_stale(stage) is None and other.digest(stage) == own.digest(stage):
            continue
        shutil.rmtree(other.directory(stage), ignore_errors=True)
        shutil.copytree(own.directory(stage), other.directory(stage), copy_function=os.link)
