"""Training curves, read and drawn."""

import json
from pathlib import Path

from stages.report.curves import plot_curves, read_curves


def test_curves_are_grouped_by_fit_and_name(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    lines = [
        {"fit": "top", "step": 10, "train/loss": 2.0, "lr-AdamW": 1e-3, "train/extra": 1.0},
        {"fit": "top", "step": 20, "train/loss": 1.0, "val/loss": 1.5, "val/usage": float("nan")},
        {"fit": "bottom", "step": 10, "train/loss": 3.0},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"fit": "bottom", "st')
    curves = {(curve.fit, curve.name): curve.lines for curve in read_curves(path)}
    assert set(curves) == {("top", "loss"), ("top", "extra"), ("bottom", "loss")}
    assert curves["top", "loss"] == {"train": [(10, 2.0), (20, 1.0)], "val": [(20, 1.5)]}


def test_a_plot_says_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_text('{"fit": "a", "step": 5, "val/loss": 0.25}\n')
    (figure,) = plot_curves(read_curves(path))
    assert figure.source.startswith("data:image/png;base64,iVBORw0KGgo")
    assert figure.label == "loss: val 0.25 at step 5"
