"""Lets torchvision be imported beside a torch that it was not compiled for (the PyPI wheel beside a CPU-only torch).

There, `import torchvision` dies with "operator torchvision::nms does not exist" and takes transformers, torchmetrics,
Lightning and lpips with it, though none of them needs its compiled operators. Declaring the two missing schemas first
is enough for its pure-Python part (models, transforms). Where the compiled part loads, nothing is declared.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_library: object | None = None  # torch.library removes the schemas when this object dies


class _BeforeTorchvision(MetaPathFinder):
    """Declares the operators at the first `import torchvision`, then lets the ordinary finders go on."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare_missing_operators()
        return None


def install_import_hook() -> None:
    """Arranges for `import torchvision` to work later; costs nothing now (torch is not imported)."""
    if "torchvision" not in sys.modules and not any(isinstance(f, _BeforeTorchvision) for f in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())


def _declare_missing_operators() -> None:
    spec = PathFinder.find_spec("torchvision")
    if spec is None or spec.origin is None or _compiled_part_loads(Path(spec.origin).parent):
        return
    import torch

    global _library
    _library = library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    )


def _compiled_part_loads(package: Path) -> bool:
    import torch

    for extension in sorted(package.glob("_C*.so")) + sorted(package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(extension))
            return True
        except (OSError, RuntimeError):
            continue
    return False
