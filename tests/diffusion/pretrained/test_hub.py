"""A checkpoint by its hub name, here of a local hub: fetched once, only what is read, and offline from then on."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from stages.diffusion.pretrained.checkpoint import find_checkpoint
from stages.errors import StageError
from tests.hub import COMMIT, fetch, run, serve_hub

NAME = "someone/tiny-diffusion"
LOAD = f"""
from stages.diffusion.pretrained.checkpoint import find_checkpoint
from stages.diffusion.pretrained.pipeline import load_pipeline, picture_side
found = find_checkpoint({NAME!r})
print(found.revision, picture_side(load_pipeline(found)), find_checkpoint({NAME!r}, found.revision) == found)
"""


@pytest.fixture
def run_yaml(tmp_path: Path) -> Path:
    (tmp_path / "run.yaml").write_text(f"diffusion:\n  pretrained: {NAME}\n")
    return tmp_path / "run.yaml"


def test_a_fetched_checkpoint_works_offline(tmp_path: Path, own_checkpoint: Path, run_yaml: Path) -> None:
    unread = ("unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin", "sd.ckpt")
    for name in unread:
        (own_checkpoint / name).write_bytes(b"not needed")
    with serve_hub(NAME, own_checkpoint) as (hub, asked):
        done = run(fetch(run_yaml), hub, tmp_path / "cache")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"weights: {NAME} is in ") and done.stdout.count("\n") == 1
    assert any(path.endswith("unet/diffusion_pytorch_model.safetensors") for path in asked)
    assert not any(path.endswith(unread) for path in asked)
    loaded = run(LOAD, hub, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert loaded.stdout.split() == [COMMIT, "16", "True"], loaded.stderr


@pytest.mark.parametrize("setting", [("ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_OFFLINE", True)])
def test_a_name_that_cannot_be_had_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: tuple[str, object]
) -> None:
    """Where nobody answers, and where the hub is told not to ask."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, *setting)
    with pytest.raises(
        StageError, match=rf"diffusion\.pretrained: cannot fetch {NAME} \(.*check the name and"
    ) as caught:
        find_checkpoint(NAME)
    assert "\n" not in str(caught.value)
