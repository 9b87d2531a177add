"""BLIP as plain modules: one picture encoder, a text encoder that also matches, a captioner (arXiv:2201.12086)."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertTokenizerFast, BlipForConditionalGeneration, BlipForImageTextRetrieval
from transformers.utils import cached_file

from stages.config.blip import BlipConfig
from stages.errors import StageError

# What BLIP's checkpoints expect where they do not say so: OpenAI CLIP's means and deviations of RGB in [0,1].
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_UNIT_MEAN, _UNIT_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # leaves an image in [-1,1] as it is

_log = logging.getLogger("stages.blip")


class Encoded(NamedTuple):
    """What one tower makes of a batch."""

    tokens: Tensor  # (B,L,E)
    pooled: Tensor  # (B,P) unit norm


class BlipNetwork(nn.Module):
    """The two Hugging Face models of BLIP around one picture encoder.

    Args:
        retrieval: picture encoder, text encoder, projections and matching head.
        captioner: its picture encoder is replaced by that of `retrieval`.
        mean, std: of the RGB values in [0,1] that the picture encoder was made for.
    """

    def __init__(
        self,
        retrieval: BlipForImageTextRetrieval,
        captioner: BlipForConditionalGeneration,
        mean: tuple[float, ...] = _UNIT_MEAN,
        std: tuple[float, ...] = _UNIT_STD,
    ) -> None:
        super().__init__()
        self.retrieval = retrieval
        self.captioner = captioner
        self.captioner.vision_model = retrieval.vision_model
        self.mean, self.std = tuple(mean), tuple(std)

    @property
    def image_size(self) -> int:
        """Side of the picture the encoder sees, pixels."""
        return int(self.retrieval.config.vision_config.image_size)

    @property
    def text_width(self) -> int:
        """E, the width of the text tokens."""
        return int(self.retrieval.config.text_config.hidden_size)

    @property
    def embedding_width(self) -> int:
        """P, the width of the pooled embeddings."""
        return int(self.retrieval.config.image_text_hidden_size)

    def encode_images(self, image: Tensor) -> Encoded:
        """Picture tokens (B,N,C) and pooled picture embeddings (B,P) of an image (B,3,H,W) in [-1,1]."""
        values = pixel_values(image, self.image_size, self.mean, self.std)
        tokens = self.retrieval.vision_model(pixel_values=values).last_hidden_state  # (B,N,C)
        return Encoded(tokens, F.normalize(self.retrieval.vision_proj(tokens[:, 0]), dim=-1))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Text tokens (B,L,E) and pooled text embeddings (B,P) of captions (B,L) int64, the picture unseen.

        Tokens are the mean of all hidden states, the word embeddings among them: the last layer alone keeps only what
        the picture encoder has learned to see. After the demo's training it has half forgotten counts and the state of
        the sea, and a prior that reads it paints these little better than by chance.
        """
        encoded = self.retrieval.text_encoder(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
        )
        pooled = self.retrieval.text_proj(encoded.last_hidden_state[:, 0])
        return Encoded(torch.stack(encoded.hidden_states).mean(dim=0), F.normalize(pooled, dim=-1))

    def match(self, image_tokens: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B,2) of picture (B,N,C) and caption (B,L) being unrelated, related."""
        seen = self.retrieval.text_encoder(
            input_ids=input_ids, attention_mask=attention_mask, encoder_hidden_states=image_tokens
        ).last_hidden_state  # (B,L,E)
        logits: Tensor = self.retrieval.itm_head(seen[:, 0])
        return logits

    def caption_logits(self, image_tokens: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B,L,V) for the token after each position of captions (B,L), whose first token becomes [DEC]."""
        start = torch.full_like(input_ids[:, :1], self.captioner.config.text_config.bos_token_id)
        logits: Tensor = self.captioner.text_decoder(
            input_ids=torch.cat([start, input_ids[:, 1:]], dim=1),
            attention_mask=attention_mask,
            encoder_hidden_states=image_tokens,
        ).logits
        return logits

    def generate(self, image: Tensor, max_tokens: int) -> Tensor:
        """Greedy captions (B,L) int64 of an image (B,3,H,W) in [-1,1], at most `max_tokens` tokens long."""
        values = pixel_values(image, self.image_size, self.mean, self.std)
        generated: Tensor = self.captioner.generate(values, max_length=max_tokens, do_sample=False, num_beams=1)
        return generated


def pixel_values(image: Tensor, side: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """What a picture encoder expects of an image (B,3,H,W) in [-1,1]: (B,3,side,side), normalised by channel."""
    if image.shape[-2:] != (side, side):
        image = F.interpolate(image, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
        image = image.clamp(-1, 1)
    if (mean, std) == (_UNIT_MEAN, _UNIT_STD):
        return image
    middle = image.new_tensor(mean)[:, None, None]
    spread = image.new_tensor(std)[:, None, None]
    return ((image + 1) / 2 - middle) / spread


def build_network(config: BlipConfig, tokenizer: BertTokenizerFast, image_size: int, seed: int) -> BlipNetwork:
    """A network from scratch.

    Args:
        image_size: side of the data set's pictures, pixels; `config.image_size` goes before it.

    Raises:
        StageError: the picture side is no multiple of the patch side.
    """
    side = config.image_size or image_size
    if side % config.patch_size:
        raise StageError(f"blip.patch_size ({config.patch_size}) does not divide the picture side {side}; set another")
    huggingface = transformers.BlipConfig(
        text_config=_text_config(config, tokenizer),
        vision_config={
            "hidden_size": config.vision_width,
            "intermediate_size": 4 * config.vision_width,
            "num_hidden_layers": config.vision_layers,
            "num_attention_heads": config.vision_heads,
            "image_size": side,
            "patch_size": config.patch_size,
            "initializer_range": _INITIALIZER_RANGE,
        },
        image_text_hidden_size=config.embedding_width,
        initializer_range=_INITIALIZER_RANGE,
    )
    with torch.random.fork_rng(devices=[]):  # transformers draws its weights from the global generator
        torch.manual_seed(seed)
        network = BlipNetwork(BlipForImageTextRetrieval(huggingface), BlipForConditionalGeneration(huggingface))
    if config.share_text_layers:
        _share_text_layers(network)
    return network


_INITIALIZER_RANGE = 0.05  # of the order of 1 / sqrt(width) for the widths of 100 to 400 that are trained from scratch


def _text_config(config: BlipConfig, tokenizer: BertTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "max_position_embeddings": config.max_tokens,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "initializer_range": _INITIALIZER_RANGE,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _share_text_layers(network: BlipNetwork) -> None:
    """Lets the captioner use the text encoder's weights, all but self-attention, which is causal in the one only."""
    encoder, decoder = network.retrieval.text_encoder, network.captioner.text_decoder
    decoder.bert.embeddings = encoder.embeddings
    decoder.cls.predictions.decoder.weight = encoder.embeddings.word_embeddings.weight
    for own, shared in zip(decoder.bert.encoder.layer, encoder.encoder.layer, strict=True):
        own.crossattention, own.intermediate, own.output = shared.crossattention, shared.intermediate, shared.output


def load_pretrained(
    name: str, captioner_name: str | None = None, seed: int = 0
) -> tuple[BlipNetwork, BertTokenizerFast]:
    """Network and tokenizer from one or two checkpoints in Hugging Face layout, directories or hub names.

    A text tower that a checkpoint lacks starts from the one it has; what neither has starts afresh, from `seed`.

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
    started = sorted({key.split(".")[0] for key in missing} - {"text_encoder"})
    if started:
        _log.warning("%s has no %s: trained from scratch", name, ", ".join(started))
    with _explained(name, "blip.pretrained"):
        mean, std = _normalisation(name)
        return BlipNetwork(retrieval, captioner, mean, std), BertTokenizerFast.from_pretrained(name)


def _load(model: Any, name: str, key: str) -> tuple[Any, list[str]]:
    with _explained(name, key):
        loaded, report = model.from_pretrained(name, output_loading_info=True)
    return loaded, sorted(report["missing_keys"])


@contextmanager
def _explained(name: str, key: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
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
