"""What numba keeps is used as long as no file that it was compiled from has changed, and torch keeps its threads."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.prior.compiled import drawing
from stages.prior.kernels import convolution
from stages.prior.kernels.compiling import HERE, has_openmp, sources_digest


def test_what_is_kept_lies_where_all_sources_are_named() -> None:
    digest = sources_digest(HERE, Path(drawing.__file__).parent)
    assert f"numba-{digest}" in drawing.draw_row.stats.cache_path  # type: ignore[attr-defined]
    assert f"numba-{sources_digest(HERE)}" in convolution._put_products.__wrapped__.stats.cache_path  # type: ignore[attr-defined]


def test_any_change_of_any_source_is_another_digest(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    digests = []
    for first, second in (("a = 1", "b = 1"), ("a = 2", "b = 1"), ("a = 1", "b = 2"), ("a = 1b = 1", "")):
        one.write_text(first)
        other.write_text(second)
        digests.append(sources_digest(tmp_path))
    other.rename(tmp_path / "renamed.py")
    digests.append(sources_digest(tmp_path))
    assert len(set(digests)) == 5
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "parts.py").write_text("c = 1")
    assert sources_digest(tmp_path, tmp_path / "more") not in digests
    (tmp_path / "notes.txt").write_text("no source")
    assert sources_digest(tmp_path) == digests[-1]


def test_without_openmp_nothing_is_trained_in_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"libgomp.so.1: cannot open shared object file, wanted by {name}")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert not has_openmp.__wrapped__()


def test_torch_keeps_its_number_of_threads() -> None:
    """In a process of its own: numba starts its threads once."""
    code = (
        "import stages, torch\n"
        "from stages.prior.kernels.activation import elu\n"
        "before = torch.get_num_threads()\n"
        "elu(torch.ones(1, 2, 2, 8, requires_grad=True), 0).sum().backward()\n"
        "print(before, torch.get_num_threads())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1"]
