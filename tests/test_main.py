"""What the person at the keyboard sees when something outside the program goes wrong."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages import __main__ as command_line
from stages.errors import StageError
from stages.workspace import Workspace


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/scenes/images.npy"), "data/scenes/images.npy"),
        (RuntimeError("[enforce fail] . PytorchStreamWriter failed writing file data/1"), "checkpoints/demo/vqvae"),
        (RuntimeError("lmdb.DiskError: mdb_txn_commit: No space left on device"), "checkpoints/demo/vqvae"),
    ],
)
def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, where: str
) -> None:
    def fail(name: str, workspace: Workspace) -> None:
        raise error

    monkeypatch.setattr(command_line, "_run_if_stale", fail)
    assert command_line.main(["vqvae", "--config", "configs/demo.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: vqvae: ")
    assert f"{where}: no space left on the disk; free some" in said or f"{where}, or" in said
    assert said.count("\n") == 1


def test_a_mistake_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, workspace: Workspace) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(command_line, "_run_if_stale", fail)
    with pytest.raises(ZeroDivisionError):
        command_line.main(["vqvae", "--config", "configs/demo.yaml"])


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_all_leaves_a_stage_the_time_to_save(tmp_path: Path, asked: signal.Signals) -> None:
    """`all` runs each stage in a process of its own and waits for it. Ctrl-C goes to both, SIGTERM to `all` alone."""
    child = (
        "import pathlib, signal, sys, time\n"
        "def save(number, frame):\n"
        "    time.sleep(1)\n"
        f"    pathlib.Path({str(tmp_path / 'saved')!r}).touch()\n"
        "    sys.exit(130)\n"
        f"signal.signal({int(asked)}, save)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    parent = (
        "import sys; from stages.__main__ import _run_process;"
        f"sys.exit(_run_process([sys.executable, '-c', {child!r}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    for _ in range(200):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.1)
    if asked == signal.SIGINT:
        os.killpg(process.pid, asked)
    else:
        process.send_signal(asked)
    assert process.wait(timeout=30) == 130
    assert (tmp_path / "saved").exists()


def test_a_process_that_was_killed_is_said_to_be() -> None:
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(StageError, match="ended by SIGKILL"):
        command_line._run_process([sys.executable, "-c", killed])
