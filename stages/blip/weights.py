"""Fetches the pretrained checkpoints that a run names, into the cache of the Hugging Face hub: `make weights`."""

import logging
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from stages.config.blip import BlipConfig
from stages.errors import StageError

log = logging.getLogger("stages.blip")
FILES = ["*.json", "*.txt", "model.safetensors"]  # config, tokenizer, processor, weights
FALLBACK = ["pytorch_model.bin"]  # of a checkpoint that has no safetensors


def fetch_weights(config: BlipConfig) -> list[Path]:
    """Folders of the checkpoints in the cache; one that is a directory already is left as it is.

    Raises:
        StageError: the config names none, there is none of that name, or the hub cannot be reached.
    """
    named = {"blip.pretrained": config.pretrained, "blip.pretrained_captioner": config.pretrained_captioner}
    wanted = {key: name for key, name in named.items() if name}
    if not wanted:
        raise StageError("the config names no checkpoint: set blip.pretrained, or train from scratch without weights")
    return [Path(name) if Path(name).is_dir() else _fetch(key, name) for key, name in wanted.items()]


def _fetch(key: str, name: str) -> Path:
    try:
        folder = Path(snapshot_download(name, allow_patterns=FILES))
        if not (folder / "model.safetensors").is_file():
            folder = Path(snapshot_download(name, allow_patterns=FILES + FALLBACK))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StageError(f"{key}: cannot fetch {name} ({reason}); check the name and the network") from None
    log.info("weights: %s is in %s", name, folder)
    return folder
