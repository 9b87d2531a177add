"""Every shipped YAML parses; what cannot be is refused in one line that names the key, with exit status 2."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.__main__ import main, parse_config
from stages.errors import StageError

SHIPPED = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_parses(path: Path) -> None:
    assert parse_config("vqvae", ["--config", str(path)]).run == path.stem


def test_configs_are_shipped() -> None:
    assert {"demo", "scenes", "folder", "smoke"} <= {path.stem for path in SHIPPED}


def test_overrides_win_and_numbers_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("vqvae:\n  lr: 3e-4\n  max_steps: 7\n")
    config = parse_config("vqvae", ["--config", str(tmp_path / "mine.yaml"), "--vqvae.max_steps", "9"])
    assert (config.run, config.vqvae.lr, config.vqvae.max_steps) == ("mine", 3e-4, 9)


@pytest.mark.parametrize("named", [["--config", "{}"], ["--config={}"]])
def test_overrides_win_wherever_the_config_is_named(tmp_path: Path, named: list[str]) -> None:
    (tmp_path / "mine.yaml").write_text("vqvae:\n  max_steps: 7\n  lr: 3e-4\n")
    config = [part.format(tmp_path / "mine.yaml") for part in named]
    parsed = parse_config("vqvae", ["--vqvae.max_steps", "9", *config, "--vqvae.lr=1e-3"])
    assert (parsed.vqvae.max_steps, parsed.vqvae.lr) == (9, 1e-3)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("vqvae:\n  chanels: 3\n", "chanels"),
        ("vqvae:\n  channels: many\n", "channels"),
        ("vqvae:\n  lr: -1\n", "vqvae.lr must be above 0"),
        ("data:\n  image_size: 63\n", "multiple of 8, got 63"),
        ("prior:\n  top:\n    kernel: 4\n", "kernel must be odd"),
        ("diffusion:\n  ema_decay: 1.0\n", "ema_decay must be in"),
        ("diffusion:\n  channels: [0]\n", "channels must be multiples of 32"),
        ("prior:\n  top:\n    heads: 0\n", "heads must be at least 1"),
        ("prior:\n  bottom:\n    text_layers: -1\n", "text_layers must not be negative"),
        ("prior:\n  text: words\n", "prior.text"),
        ("run: ../elsewhere\n", "run must be the name of a folder"),
        ("vqvae: [1, 2\n", "mine.yaml"),
    ],
)
def test_a_wrong_config_is_one_line_naming_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, named: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["vqvae", "--config", str(tmp_path / "mine.yaml")]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("cut", [["--diffusion.shifted_view", "true"], ["--diffusion.shifted_view=true"]])
def test_an_option_is_not_the_one_that_it_begins(cut: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diffusion", "--config", str(SHIPPED[0]), *cut]) == 2
    assert "unrecognized arguments: --diffusion.shifted_view" in capsys.readouterr().err


def test_no_config_and_no_such_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vqvae"]) == 2
    assert "no config given" in capsys.readouterr().err
    assert main(["vqva", "--config", "configs/demo.yaml"]) == 2
    assert "there is no stage 'vqva'" in capsys.readouterr().err
    assert main(["data", "--config", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(StageError):
        main(["vqvae", "--debug"])


def test_help_answers_at_once() -> None:
    """Neither torch nor transformers is imported to print the stages."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "stages", "--help"], capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 5
    assert "prior" in done.stdout
    loaded = "import sys; from stages.__main__ import main; main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_parsing_a_config_does_not_import_torch() -> None:
    program = (
        "import sys; from stages.__main__ import parse_config;"
        "parse_config('data', ['--config', 'configs/demo.yaml']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
