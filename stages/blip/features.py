"""Features of a whole data set, computed once and kept as memory-mapped arrays."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from stages.blip.blip import Blip
from stages.blip.tokenizer import encode_captions
from stages.blip.words import SHARES, beside_words
from stages.data import PreparedSet, to_tensor
from stages.data.prepared import allocate_array
from stages.errors import StageError

_DESCRIPTION = "features.json"
_ARRAYS = ("text_tokens", "text_ids", "words", "text_mask", "text_pooled", "image_pooled")
BATCH = 64


@dataclass(frozen=True)
class Features:
    """BLIP's features of a prepared set, memory-mapped, read only."""

    text_tokens: np.ndarray
    """(R,L,E) float16 by record row, 0 where masked, what the encoder makes of each token; L is the length of the set's
    longest caption."""
    text_ids: np.ndarray
    """(R,L) int32 token ids, rows of `words`."""
    words: np.ndarray
    """(V,E) float16, what each word is by itself."""
    text_mask: np.ndarray
    """(R,L) bool, True = token."""
    text_pooled: np.ndarray
    """(R,P) float32, unit norm."""
    image_pooled: np.ndarray
    """(N,P) float32 by picture row, unit norm."""

    @property
    def token_width(self) -> int:
        """Width of the tokens that `text` returns, 4E."""
        return SHARES * int(self.words.shape[1])

    def text(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B,L,4E) float32 and mask (B,L) bool of these record rows, cut to the longest caption among them."""
        mask = torch.from_numpy(np.asarray(self.text_mask[rows]))
        length = max(1, int(mask.sum(dim=1).max()))
        mask = mask[:, :length]
        tokens = torch.from_numpy(np.asarray(self.text_tokens[rows, :length])).float()
        words = torch.from_numpy(np.asarray(self.words[self.text_ids[rows, :length]])).float()
        return beside_words(tokens, words, mask), mask


def extract_features(blip: Blip, dataset: PreparedSet, directory: Path, weights_sha256: str) -> int:
    """Writes the features of every record and picture of a set; returns how many captions were truncated.

    Captions are taken by length, so that hardly any padding is computed. The same weights, set, library versions and
    number of threads give the same bits.
    """
    directory.mkdir(parents=True, exist_ok=True)
    captions = [record.caption for record in dataset.records]
    encoded = encode_captions(blip.tokenizer, captions, blip.max_tokens)
    rows, length = encoded.input_ids.shape
    tokens = _new(directory, "text_tokens", (rows, length, blip.text_width), np.float16)
    ids = _new(directory, "text_ids", (rows, length), np.int32)
    mask = _new(directory, "text_mask", (rows, length), np.bool_)
    pooled = _new(directory, "text_pooled", (rows, blip.embedding_width), np.float32)
    ids[:] = encoded.input_ids.numpy()
    mask[:] = encoded.attention_mask.bool().numpy()
    np.save(directory / "words.npy", blip.network.words().detach().half().cpu().numpy())
    lengths = mask.sum(1)
    with torch.no_grad():
        for batch in _batches(np.argsort(lengths, kind="stable"), "blip text features", blip.device.type):
            longest = int(lengths[batch].max())
            input_ids = encoded.input_ids[batch, :longest].to(blip.device)
            attention_mask = encoded.attention_mask[batch, :longest].to(blip.device)
            text = blip.network.encode_text(input_ids, attention_mask)
            tokens[batch, :longest] = (text.tokens * attention_mask[..., None]).half().cpu().numpy()
            pooled[batch] = text.pooled.float().cpu().numpy()
    _extract_images(blip, dataset.images, directory)
    description = {"weights_sha256": weights_sha256, "records": rows, "images": len(dataset.images)}
    (directory / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
    return encoded.truncated


def _extract_images(blip: Blip, images: np.ndarray, directory: Path) -> None:
    pooled = _new(directory, "image_pooled", (len(images), blip.embedding_width), np.float32)
    for batch in _batches(np.arange(len(images)), "blip image features", blip.device.type):
        pooled[batch] = blip.encode_images(to_tensor(images[batch])).float().cpu().numpy()


def _batches(rows: np.ndarray, desc: str, device: str) -> Iterator[np.ndarray]:
    size = BATCH if device == "cpu" else 8 * BATCH
    starts = range(0, len(rows), size)
    for start in tqdm(starts, desc=desc, unit="batch", leave=False, dynamic_ncols=True, mininterval=0.5):
        yield rows[start : start + size]


def _new(directory: Path, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return allocate_array(directory / f"{name}.npy", dtype, shape)


def load_features(directory: Path) -> Features:
    """The features that the blip stage published in `directory`.

    Raises:
        StageError: there are none, or they were made with other weights than those beside them.
    """
    folder = Path(directory) / "features"
    if not (folder / _DESCRIPTION).is_file():
        raise StageError(f"{folder / _DESCRIPTION} is missing: no published features there; run: make blip")
    made_with = json.loads((folder / _DESCRIPTION).read_text())["weights_sha256"]
    if made_with != weights_digest(Path(directory)):
        raise StageError(f"{folder} was made with other weights than those beside it; remove it and run: make blip")
    return Features(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS})


def weights_digest(directory: Path) -> str:
    """sha256 of the published weights and tokenizer that features depend on."""
    digest = hashlib.sha256()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        digest.update((directory / "retrieval" / name).read_bytes())
    return digest.hexdigest()
