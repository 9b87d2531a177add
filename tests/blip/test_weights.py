"""`make weights` fetches from a hub, here a local one, and what it fetched works without a network afterwards."""

from pathlib import Path

import pytest

from stages.blip.blip import Blip
from stages.blip.pretrained import save_network
from tests.hub import fetch, run, serve_hub

NAME = "someone/small-blip"


@pytest.fixture
def run_yaml(tmp_path: Path) -> Path:
    (tmp_path / "run.yaml").write_text(f"blip:\n  pretrained: {NAME}\n")
    return tmp_path / "run.yaml"


def test_a_fetched_checkpoint_works_offline(tmp_path: Path, blip: Blip, run_yaml: Path) -> None:
    save_network(blip.network, blip.tokenizer, tmp_path / "made")
    (tmp_path / "made" / "retrieval" / "training.log").write_text("not needed")
    with serve_hub(NAME, tmp_path / "made" / "retrieval") as (hub, asked):
        done = run(fetch(run_yaml), hub, tmp_path / "cache")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"weights: {NAME} is in ") and done.stdout.count("\n") == 1
        assert any("model.safetensors" in path for path in asked)
        assert not any("training.log" in path for path in asked)
        before = len([path for path in asked if path.endswith("model.safetensors")])
        assert run(fetch(run_yaml), hub, tmp_path / "cache").returncode == 0
        assert len([path for path in asked if path.endswith("model.safetensors")]) == before  # not fetched twice
    load = f"from stages.blip.pretrained import load_pretrained; print(load_pretrained({NAME!r})[0].text_width)"
    loaded = run(load, hub, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert loaded.stdout.strip() == str(blip.text_width), loaded.stderr


def test_an_unknown_name_and_an_unreachable_hub_are_one_line(tmp_path: Path, run_yaml: Path) -> None:
    (tmp_path / "empty").mkdir()
    run_yaml.write_text("blip:\n  pretrained: someone/else\n")
    with serve_hub(NAME, tmp_path / "empty") as (hub, _):
        unknown = run(fetch(run_yaml), hub, tmp_path / "cache")
    unreachable = run(fetch(run_yaml), "http://127.0.0.1:9", tmp_path / "cache")
    for done in (unknown, unreachable):
        assert done.returncode == 2
        assert "error: blip.pretrained: cannot fetch someone/else" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_config_without_checkpoints_says_so(tmp_path: Path) -> None:
    done = run(fetch(Path("configs/demo.yaml").resolve()), "http://127.0.0.1:9", tmp_path)
    assert done.returncode == 2 and "the config names no checkpoint" in done.stderr
