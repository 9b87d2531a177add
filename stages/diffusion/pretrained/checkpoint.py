"""A checkpoint in the layout of Stable Diffusion on disk: found, checked to be whole, told from others by its files."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from stages.errors import StageError
from stages.hub import cached_snapshot, fetch_snapshot

KEY = "diffusion.pretrained"
PIPELINE = "StableDiffusionPipeline"
_NETWORK = ("config.json", "{0}.safetensors", "{0}.safetensors.index.json", "{0}-*-of-*.safetensors")
COMPONENTS: dict[str, tuple[str, ...]] = {
    "unet": tuple(pattern.format("diffusion_pytorch_model") for pattern in _NETWORK),
    "vae": tuple(pattern.format("diffusion_pytorch_model") for pattern in _NETWORK),
    "text_encoder": tuple(pattern.format("model") for pattern in _NETWORK),
    "tokenizer": ("*.json", "*.txt"),
    "scheduler": ("scheduler_config.json",),
}
"""Folder -> the files that are read of it. Pickled weights, and copies in other precisions, are not among them."""
FILES = ["model_index.json", "README.md"] + [f"{part}/{name}" for part, names in COMPONENTS.items() for name in names]


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint in a local folder."""

    name: str
    """As the config says: the folder or the hub name."""
    revision: str
    """Commit of the hub name; empty for a folder."""
    folder: Path

    def digests(self) -> dict[str, str]:
        """Component -> sha256 of the files that are read of it, names and contents."""
        return {part: _digest(component_files(self.folder, part)) for part in COMPONENTS}

    def licence(self) -> str | None:
        """What the model card (`README.md`) says in its header; None where there is no card or it does not say."""
        import yaml
        from huggingface_hub import ModelCard

        card = self.folder / "README.md"
        if not card.is_file():
            return None
        try:
            header = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict()
        except (ValueError, yaml.YAMLError):  # the header is none
            return None
        licence = header.get("license_name") or header.get("license")
        return None if licence is None else str(licence)


def find_checkpoint(name: str, revision: str = "") -> Checkpoint:
    """The checkpoint of a folder or hub name; what the cache lacks of a hub name is fetched, else the hub is not asked.

    Raises:
        StageError: there is no such folder, the hub does not have it or cannot be reached, or it is not whole.
    """
    if Path(name).is_dir():
        if revision:
            raise StageError(f"{KEY}_revision: {name} is a folder and has no revisions; leave it empty")
        found = Checkpoint(name, "", Path(name))
    else:
        if name.startswith(("/", ".", "~")) or name.count("/") > 1:
            raise StageError(f"{KEY}: there is no folder {name}; name one in the layout of Stable Diffusion")
        folder = cached_snapshot(name, revision)
        if folder is None or missing_part(folder) is not None:
            folder = fetch_snapshot(KEY, name, FILES, revision)
        found = Checkpoint(name, folder.name, folder)
    _check_layout(found)
    return found


def component_files(folder: Path, component: str) -> list[Path]:
    """The files that are read of a component, sorted."""
    return sorted({path for pattern in COMPONENTS[component] for path in (folder / component).glob(pattern)})


def missing_part(folder: Path) -> str | None:
    """The first file that a whole checkpoint has and this one does not; None where it is whole."""
    if not (folder / "model_index.json").is_file():
        return "model_index.json"
    for component, (config, *weights) in COMPONENTS.items():
        names = {path.name for path in component_files(folder, component)}
        if component == "tokenizer":
            if not ("tokenizer.json" in names or {"vocab.json", "merges.txt"} <= names):
                return "tokenizer/vocab.json"
        elif config not in names:
            return f"{component}/{config}"
        elif weights and not any(name.endswith(".safetensors") for name in names):
            return f"{component}/{weights[0]}"
    return None


def _check_layout(found: Checkpoint) -> None:
    missing = missing_part(found.folder)
    if missing is not None:
        where = f"{found.name} has no {missing}"
        raise StageError(f"{KEY}: {where}; name a whole checkpoint in the layout of Stable Diffusion, in safetensors")
    try:
        kind = json.loads((found.folder / "model_index.json").read_text())["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise StageError(f"{KEY}: {found.folder / 'model_index.json'} is no index of a pipeline ({error})") from None
    if kind != PIPELINE:
        raise StageError(f"{KEY}: {found.name} is a {kind}; name a checkpoint of a {PIPELINE}")


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()
