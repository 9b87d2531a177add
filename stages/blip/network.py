"""BLIP as plain modules: one picture encoder, a text encoder that also matches, a captioner (arXiv:2201.12086)."""

import copy
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertTokenizerFast, BlipForConditionalGeneration, BlipForImageTextRetrieval

from stages.blip.words import words_of
from stages.config.blip import BlipConfig
from stages.errors import StageError

_UNIT_MEAN, _UNIT_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # leaves an image in [-1,1] as it is


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
        fresh: names of modules whose weights are not a checkpoint's but drawn at random.
    """

    def __init__(
        self,
        retrieval: BlipForImageTextRetrieval,
        captioner: BlipForConditionalGeneration,
        mean: tuple[float, ...] = _UNIT_MEAN,
        std: tuple[float, ...] = _UNIT_STD,
        fresh: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.retrieval = retrieval
        self.captioner = captioner
        self.captioner.vision_model = retrieval.vision_model
        self.captioner.config.vision_config = copy.deepcopy(retrieval.config.vision_config)  # it is saved with it
        self.mean, self.std, self.fresh = tuple(mean), tuple(std), fresh

    @property
    def image_size(self) -> int:
        """Side of the picture the encoder sees, pixels."""
        return int(self.retrieval.config.vision_config.image_size)

    @property
    def text_width(self) -> int:
        """E, the width of the text encoder."""
        return int(self.retrieval.config.text_config.hidden_size)

    @property
    def embedding_width(self) -> int:
        """P, the width of the pooled embeddings."""
        return int(self.retrieval.config.image_text_hidden_size)

    def pixel_values(self, image: Tensor) -> Tensor:
        """What the picture encoder expects (B,3,S,S) of an image (B,3,H,W) in [-1,1]."""
        return pixel_values(image, self.image_size, self.mean, self.std)

    def encode_images(self, image: Tensor) -> Encoded:
        """Picture tokens (B,N,C) and pooled picture embeddings (B,P) of an image (B,3,H,W) in [-1,1]."""
        return embed_images(self.retrieval, self.pixel_values(image))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Text tokens (B,L,E) and pooled text embeddings (B,P) of captions (B,L) int64, the picture unseen.

        Tokens are the mean of all hidden states, the word embeddings among them: the last layer alone keeps only what
        the picture encoder has learned to see. After the demo's training it has half forgotten counts and the state of
        the sea, and a prior that reads it paints these little better than by chance.
        """
        encoder = self.retrieval.text_encoder
        seen = encoder(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        tokens = torch.stack(seen.hidden_states).mean(dim=0)
        return Encoded(tokens, _pool_text(self.retrieval, seen.last_hidden_state))

    def words(self, input_ids: Tensor | None = None) -> Tensor:
        """(B,L,E) what the words of captions (B,L) are by themselves, `words_of` their embeddings; None: all, (V,E)."""
        embeddings = self.retrieval.text_encoder.embeddings.word_embeddings.weight
        return words_of(embeddings if input_ids is None else embeddings[input_ids])

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled text embeddings (B,P) alone, for less memory than `encode_text`."""
        return embed_text(self.retrieval, input_ids, attention_mask)

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


def embed_images(retrieval: BlipForImageTextRetrieval, values: Tensor) -> Encoded:
    """Picture tokens (B,N,C) and pooled picture embeddings (B,P) of what the encoder expects (B,3,S,S)."""
    tokens = retrieval.vision_model(pixel_values=values).last_hidden_state  # (B,N,C)
    return Encoded(tokens, F.normalize(retrieval.vision_proj(tokens[:, 0]), dim=-1))


def embed_text(retrieval: BlipForImageTextRetrieval, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Pooled text embeddings (B,P) of captions (B,L) int64, the picture unseen."""
    seen = retrieval.text_encoder(input_ids=input_ids, attention_mask=attention_mask)
    return _pool_text(retrieval, seen.last_hidden_state)


def _pool_text(retrieval: BlipForImageTextRetrieval, last: Tensor) -> Tensor:
    """The last layer's hidden states (B,L,E) -> (B,P) of unit norm."""
    return F.normalize(retrieval.text_proj(last[:, 0]), dim=-1)


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
