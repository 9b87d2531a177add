"""The stage on a run of two steps: stopped, sharded and run again it leaves the very same bytes."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.__main__ import main, parse_config
from stages.codes.encoder import Encoder, plan_batches
from stages.codes.schema import FORMAT, CodeRecords
from stages.codes.shards import Batch
from stages.config.codes import CodesConfig
from stages.data import PreparedSet, Record
from stages.errors import StageError
from stages.workspace import Workspace

BATCH = ["--codes.batch_size", "10", "--codes.shifted_views", "1"]


class Run:
    """A copy of the tiny run that may be spoilt."""

    def __init__(self, config: Path, folder: Path) -> None:
        made = Workspace(parse_config("codes", ["--config", str(config)]))
        shutil.copytree(made.root, folder / made.root.name)
        self.options = ["--config", str(config), "--checkpoints", str(folder), *BATCH]
        self.root = folder / made.root.name

    def codes(self, *more: str) -> int:
        return main(["codes", *self.options, *more])

    def workspace(self, *more: str) -> Workspace:
        return Workspace(parse_config("codes", [*self.options, *more]))

    @property
    def data(self) -> bytes:
        return (self.root / "codes" / "lmdb" / "data.mdb").read_bytes()


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Run:
    return Run(tiny_run, tmp_path)


@pytest.mark.parametrize(("side", "wanted"), [(64, [20, 20, 10]), (128, [5] * 10), (1024, [1] * 50)])
def test_batches_of_large_pictures_are_small(side: int, wanted: list[int]) -> None:
    records = [Record(row, row, "a picture", f"{row}", "train", f"{row}", None) for row in range(50)]
    dataset = PreparedSet(Path(), np.zeros((50, 1, 1, 3), np.uint8), records, side, None)
    batches = plan_batches(dataset, CodesConfig(batch_size=20))
    assert [batch.count for batch in batches] == wanted and batches[-1].stop == 50


def test_stopped_it_goes_on_to_the_same_bytes_and_run_again_changes_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.codes() == 0
    uninterrupted = run.data
    files = {path: path.read_bytes() for path in (run.root / "codes").rglob("*") if path.is_file()}
    assert run.codes() == 0
    assert {path: path.read_bytes() for path in (run.root / "codes").rglob("*") if path.is_file()} == files
    shutil.rmtree(run.root / "codes")
    encode = Encoder.encode
    encoded: list[int] = []

    def stop_once(self: Encoder, batch: Batch) -> CodeRecords:
        if len(encoded) == 4:
            encoded.append(-1)
            raise KeyboardInterrupt
        encoded.append(batch.number)
        return encode(self, batch)

    monkeypatch.setattr(Encoder, "encode", stop_once)
    assert run.codes() == 130
    assert not (run.root / "codes").exists()
    assert run.codes() == 0
    assert encoded == [0, 1, 2, 3, -1, *range(4, 13)]
    assert run.data == uninterrupted
    assert not (run.root / ".work" / "codes").exists()


def test_shards_of_processes_side_by_side_merge_to_the_same_bytes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.codes() == 0
    uninterrupted = run.data
    shutil.rmtree(run.root / "codes")
    command = [sys.executable, "-m", "stages", "codes", *run.options, "--codes.shard", "2/2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert run.codes("--codes.shard", "1/2") == 0
        said, _ = process.communicate()
    assert process.returncode == 0
    assert "shard 2/2 is complete" in said and "2-of-2.mdb" in said
    assert not (run.root / "codes").exists()
    assert run.codes("--codes.merge", "3") == 2
    assert "1-of-2.mdb is none of the 3 shards to merge" in capsys.readouterr().err
    assert run.codes("--codes.merge", "2") == 0
    assert run.data == uninterrupted
    assert not (run.root / "codes-shards").exists()
    for more in ([], ["--codes.shard", "1/2"], ["--codes.merge", "2"]):  # who encoded what decides nothing
        assert run.workspace(*more).why_stale("codes") is None


def test_a_shard_in_the_making_locks_itself_alone(run: Run) -> None:
    with run.workspace("--codes.shard", "1/2").locked("codes"):
        with run.workspace("--codes.shard", "2/2").locked("codes"):
            pass
        with (
            pytest.raises(StageError, match="another process is running 'codes'"),
            run.workspace("--codes.shard", "1/2").locked("codes"),
        ):
            pass


def test_shards_that_are_not_there_are_named_with_the_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.codes("--codes.shard", "1/2") == 0
    assert run.codes("--codes.merge", "2") == 2
    error = capsys.readouterr().err
    assert "shard 2/2 is missing" in error and 'make codes ARGS="--codes.shard 2/2"' in error
    assert (run.root / "codes-shards" / "1-of-2.mdb").exists()


@pytest.mark.parametrize("place", ["3/2", "0/2", "2", "a/b", "1/2/3", "-1/2"])
def test_an_impossible_shard_is_refused(run: Run, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.codes(f"--codes.shard={place}") == 2
    assert "codes.shard must be such as 2/8" in capsys.readouterr().err


def test_a_store_of_an_earlier_program_is_made_anew(run: Run) -> None:
    assert run.codes() == 0
    manifest = run.root / "codes" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(FORMAT, "blip-vq-snail codes 2"))
    reason = run.workspace().why_stale("codes")
    assert f"codes.format: 'blip-vq-snail codes 2' there, '{FORMAT}' asked for" in str(reason)
