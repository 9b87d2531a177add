"""Weights on disk: `<name>.safetensors` beside `<name>.json`, the sizes that rebuild the network. No pickle."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from stages.errors import StageError

Sizes = TypeVar("Sizes")


def save_weights(module: nn.Module, sizes: Any, directory: Path, name: str) -> None:
    """Writes the weights and the sizes (a dataclass of JSON values) of a network."""
    save_model(module, str(directory / f"{name}.safetensors"))
    (directory / f"{name}.json").write_text(json.dumps(dataclasses.asdict(sizes), indent=2) + "\n")


def load_sizes(kind: type[Sizes], directory: Path, name: str) -> Sizes:
    """The sizes that `save_weights` wrote, as the dataclass `kind`.

    Raises:
        StageError: the file is missing or does not describe a `kind`.
    """
    path = directory / f"{name}.json"
    try:
        return kind(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise StageError(f"{path} does not describe a network ({error}); run: make {directory.name}") from None


def load_weights(module: nn.Module, directory: Path, name: str) -> None:
    """Puts the saved weights into `module`, which is left in eval mode without gradients.

    Raises:
        StageError: the file is missing, cut short, or holds another network's weights.
    """
    path = directory / f"{name}.safetensors"
    try:
        load_model(module, str(path), device="cpu")
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise StageError(f"{path} cannot be loaded ({reason}); run: make {directory.name}") from None
    module.eval().requires_grad_(False)
