"""A BLIP from checkpoints in Hugging Face layout, and as one: loaded, fitted together, saved."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional as F
from transformers import BertTokenizerFast, BlipForConditionalGeneration, BlipForImageTextRetrieval
from transformers.utils import cached_file

from stages.blip.network import BlipNetwork
from stages.errors import StageError

# What BLIP's checkpoints expect where they do not say so: OpenAI CLIP's means and deviations of RGB in [0,1].
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

_log = logging.getLogger("stages.blip")


def load_pretrained(
    name: str, captioner_name: str | None = None, seed: int = 0, image_size: int | None = None
) -> tuple[BlipNetwork, BertTokenizerFast]:
    """Network and tokenizer from one or two checkpoints in Hugging Face layout, directories or hub names.

    A text tower that a checkpoint lacks starts from the one it has; what neither has starts afresh, from `seed`.

    Args:
        image_size: side of the pictures that the encoder is to see, pixels, its positions interpolated; None: its own.

    Raises:
        StageError: a checkpoint is missing, is no BLIP checkpoint, or does not fit the other.
    """
    key = "blip.pretrained_captioner" if captioner_name else "blip.pretrained"
    with torch.random.fork_rng(devices=[]):  # transformers draws what a checkpoint lacks from the global generator
        torch.manual_seed(seed)
        retrieval, missing = _load(BlipForImageTextRetrieval, name, "blip.pretrained")
        captioner, missing_too = _load(BlipForConditionalGeneration, captioner_name or name, key)
    _check_fit(retrieval.config, captioner.config, name, captioner_name or name)
    no_encoder = any(key.startswith("text_encoder.") for key in missing)
    no_decoder = any(key.startswith("text_decoder.bert.") for key in missing_too)
    if any(key.startswith("vision_model.") for key in missing) or (no_encoder and no_decoder):
        raise StageError(f"blip.pretrained: {name} has no BLIP weights (no vision_model or no text tower in it)")
    if no_encoder:
        retrieval.text_encoder.load_state_dict(captioner.text_decoder.bert.state_dict())
    if no_decoder:
        captioner.text_decoder.bert.load_state_dict(retrieval.text_encoder.state_dict())
        nn.init.zeros_(captioner.text_decoder.cls.predictions.bias)  # transformers leaves whatever memory held
    fresh = _fresh(missing, missing_too if no_decoder else [])
    if fresh:
        _log.warning("%s has no %s: trained from scratch", name, ", ".join(fresh))
    for model in (retrieval, captioner):
        _resize_pictures(model, image_size)
    with _explained(name, "blip.pretrained"):
        mean, std = _normalisation(name)
        return BlipNetwork(retrieval, captioner, mean, std, fresh), BertTokenizerFast.from_pretrained(name)


def _fresh(retrieval: list[str], captioner: list[str]) -> tuple[str, ...]:
    """Modules that no checkpoint had, from the names of missing weights; text towers are taken from one another."""
    heads = {key.split(".")[0] for key in retrieval} - {"text_encoder"}
    words = any(key.startswith("text_decoder.cls.") for key in captioner)
    return (*sorted(f"retrieval.{head}" for head in heads), *(["captioner.text_decoder.cls"] if words else []))


def _resize_pictures(model: Any, side: int | None) -> None:
    """Lets a picture encoder see pictures of another side: its learned positions are interpolated (bicubic)."""
    embeddings = model.vision_model.embeddings
    if side is None or side == embeddings.image_size:
        return
    if side % embeddings.patch_size:
        raise StageError(f"blip.image_size must be a multiple of the checkpoint's {embeddings.patch_size}, got {side}")
    old, new = embeddings.image_size // embeddings.patch_size, side // embeddings.patch_size
    first, grid = embeddings.position_embedding.detach().split([1, old * old], dim=1)  # (1,1,C), (1,old*old,C)
    grid = F.interpolate(grid.unflatten(1, (old, old)).movedim(3, 1), size=(new, new), mode="bicubic")  # (1,C,new,new)
    embeddings.position_embedding = nn.Parameter(torch.cat([first, grid.flatten(2).movedim(1, 2)], dim=1))
    embeddings.image_size, embeddings.num_patches, embeddings.num_positions = side, new * new, new * new + 1
    model.config.vision_config.image_size = side


def _load(model: Any, name: str, key: str) -> tuple[Any, list[str]]:
    with _explained(name, key):
        loaded, report = model.from_pretrained(name, output_loading_info=True)
    return loaded, sorted(report["missing_keys"])


@contextmanager
def _explained(name: str, key: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # incomplete, not fitting its config, broken
        reason = str(error).strip().splitlines()[0]
        raise StageError(f"{key}: cannot load {name} ({reason}); fetch it with: make weights") from None


def _check_fit(first: Any, second: Any, name: str, captioner_name: str) -> None:
    """Whether the captioner of one checkpoint can look through the picture encoder of another and share its words."""
    for what, ours, theirs in (
        ("picture width", first.vision_config.hidden_size, second.vision_config.hidden_size),
        ("vocabulary", first.text_config.vocab_size, second.text_config.vocab_size),
    ):
        if ours != theirs:
            reason = f"{captioner_name} does not fit {name} ({what} {theirs} there, {ours} here)"
            raise StageError(f"blip.pretrained_captioner: {reason}; choose two checkpoints of one size")


def _normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of RGB in [0,1] from a checkpoint's `preprocessor_config.json`; CLIP's without one."""
    path = cached_file(name, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    described = json.loads(Path(path).read_text()) if path else {}
    return tuple(described.get("image_mean", _CLIP_MEAN)), tuple(described.get("image_std", _CLIP_STD))


def save_network(network: BlipNetwork, tokenizer: BertTokenizerFast, directory: Path) -> None:
    """Writes `retrieval/` and `captioner/`, each a checkpoint that plain transformers loads, tokenizer included."""
    side = network.image_size
    processor = {
        "image_processor_type": "BlipImageProcessor",
        "processor_class": "BlipProcessor",
        "do_resize": True,
        "size": {"height": side, "width": side},
        "resample": 3,  # bicubic
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(network.mean),
        "image_std": list(network.std),
        "do_convert_rgb": True,
    }
    for folder, model in ((directory / "retrieval", network.retrieval), (directory / "captioner", network.captioner)):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


def load_network(directory: Path) -> tuple[BlipNetwork, BertTokenizerFast]:
    """Reads what `save_network` wrote."""
    network, tokenizer = load_pretrained(str(directory / "retrieval"), str(directory / "captioner"))
    return network, tokenizer
