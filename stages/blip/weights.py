"""Fetches the pretrained BLIP that a run names, into the cache of the Hugging Face hub: part of `make weights`."""

import logging
from pathlib import Path

from stages.config.blip import BlipConfig
from stages.hub import fetch_snapshot

log = logging.getLogger("stages.blip")
FILES = ["*.json", "*.txt", "model.safetensors"]  # config, tokenizer, processor, weights
FALLBACK = ["pytorch_model.bin"]  # of a checkpoint that has no safetensors


def fetch_weights(config: BlipConfig) -> list[Path]:
    """Folders of the checkpoints in the cache; one that is a directory already is left as it is.

    Raises:
        StageError: there is none of that name, or the hub cannot be reached.
    """
    named = {"blip.pretrained": config.pretrained, "blip.pretrained_captioner": config.pretrained_captioner}
    return [Path(name) if Path(name).is_dir() else _fetch(key, name) for key, name in named.items() if name]


def _fetch(key: str, name: str) -> Path:
    folder = fetch_snapshot(key, name, FILES)
    if not (folder / "model.safetensors").is_file():
        folder = fetch_snapshot(key, name, FILES + FALLBACK)
    log.info("weights: %s is in %s", name, folder)
    return folder
