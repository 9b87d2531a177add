"""Drawn codes are held to the full forward's, and one that is another is counted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.comparisons.codes import OTHER_WAYS, main
from stages.prior.sampler import Sampler


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    results: dict[str, Any] = {}
    monkeypatch.setattr("benchmarks.comparisons.codes.keep_results", lambda name, found: results.update({name: found}))
    return results


def test_all_codes_are_the_full_forwards(
    tiny_run: Path, kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tiny_run)]) == 0
    ways = kept["codes"]["ways"]
    assert list(ways) == ["as in the run", *OTHER_WAYS]
    for counts in ways.values():
        assert counts["codes"] == 16 * (4**2 + 8**2)  # 8 captions of val and 8 of test, at 32 px
        assert counts["other"] == 0 and counts["other_in_float32"] <= counts["in_doubt"] < counts["codes"]
    assert "| as in the run | 16 | 1,280 | 0 |" in capsys.readouterr().out


def test_a_code_that_is_another_is_counted(
    tiny_run: Path, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = Sampler.sample

    def sample_badly(self: Sampler, *args: Any) -> torch.Tensor:
        codes = sample(self, *args)
        codes[0, -1, -1] = (codes[0, -1, -1] + 1) % self.network.sizes.codebook_size
        return codes

    monkeypatch.setattr(Sampler, "sample", sample_badly)
    assert main(["--config", str(tiny_run)]) == 1
    for counts in kept["codes"]["ways"].values():
        assert counts["other"] == counts["other_in_float32"] == 2  # one on each level


def test_a_run_without_a_prior_is_told_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--checkpoints", str(tmp_path), "--datasets", str(tmp_path)]
    assert main(["--config", "configs/smoke.yaml", *folders]) == 2
    assert "has not been run" in capsys.readouterr().err
