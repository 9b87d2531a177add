import subprocess
import sys

import pytest

from stages.config.evaluation import EvaluationConfig, SweepConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_prompts", 0),
        ("bootstrap_repeats", 10),
        ("split", "train"),
        ("judge_lr", 0.0),
        ("max_compositions", -1),
        ("seeds", 0),
    ],
)
def test_an_impossible_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"evaluation\.{name} must"):
        EvaluationConfig(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("prompts", -1), ("guidance_scales", []), ("temperatures", [0.7, -1.0]), ("temperatures", [1.0, 1.0])],
)
def test_an_impossible_sweep_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"evaluation\.sweep\.{name} must"):
        SweepConfig(**{name: value})  # type: ignore[arg-type]


def test_the_section_is_read_without_torch() -> None:
    code = "import sys, stages.config.evaluation; sys.exit('torch' in sys.modules or 'nltk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
