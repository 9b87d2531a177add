"""The stage `blip`: tunes BLIP on the train pairs, publishes its weights, features of the whole set, and its table."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertTokenizerFast

from stages.blip.blip import DESCRIPTION, Blip
from stages.blip.features import extract_features, weights_digest
from stages.blip.module import Batch, BlipModule
from stages.blip.network import BlipNetwork, build_network, load_pretrained, save_network
from stages.blip.table import Table, build_table, score_pairs
from stages.blip.tokenizer import encode_captions, train_tokenizer
from stages.config import RunConfig
from stages.config.blip import BlipConfig
from stages.data import PreparedSet, Split, load_dataset, to_tensor
from stages.training import Batches, Best, fit, parameter_count
from stages.workspace import Workspace

_log = logging.getLogger("stages.blip")


def run(config: RunConfig, workspace: Workspace) -> None:
    """Tunes, extracts, measures and publishes.

    Raises:
        StageError: the data stage has not been run, or a checkpoint named in the config is missing.
    """
    dataset = load_dataset(workspace.require("data"))
    module, tokenizer = prepare(config.blip, dataset, config.seed)
    figures: dict[str, Any] = {"parameters": parameter_count(module), "vocabulary": len(tokenizer)}
    tune(module, tokenizer, dataset, config.seed, workspace.scratch("blip"))
    with workspace.publish("blip") as output:
        save_network(module.network.cpu(), tokenizer, output.directory)
        digest = weights_digest(output.directory)
        max_tokens = _max_tokens(config.blip, module.network)
        blip = Blip(module.network, tokenizer, max_tokens).to("cuda" if torch.cuda.is_available() else "cpu")
        truncated = extract_features(blip, dataset, output.directory / "features", digest)
        table = measure(blip, dataset, config.seed)
        (output.directory / "table.json").write_text(json.dumps(table, indent=2) + "\n")
        description = {
            "max_tokens": max_tokens,
            "temperature": float(module.temperature().detach()),
            "weights_sha256": digest,
        }
        (output.directory / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        output.figures |= figures | {"captions_truncated": truncated}
        output.figures |= {name: row["value"] for name, row in table.items()}
    _log.info("blip: %s of %d captions truncated; %s", truncated, len(dataset.records), _summary(table))


def prepare(config: BlipConfig, dataset: PreparedSet, seed: int) -> tuple[BlipModule, BertTokenizerFast]:
    """The untuned module and its tokenizer: a checkpoint's, or new ones (vocabulary of the train captions)."""
    if config.pretrained:
        network, tokenizer = load_pretrained(config.pretrained, config.pretrained_captioner, seed)
    else:
        tokenizer = train_tokenizer(dataset.split("train").captions, config.vocab_size, config.max_tokens)
        network = build_network(config, tokenizer, dataset.image_size, seed)
    return BlipModule(network, config, seed), tokenizer


def tune(module: BlipModule, tokenizer: BertTokenizerFast, dataset: PreparedSet, seed: int, scratch: Path) -> None:
    """Trains the module in place on the train pairs, validated on the val pairs where there are any."""
    config = module.config
    max_tokens = _max_tokens(config, module.network)
    train = Pairs(dataset, dataset.split("train"), tokenizer, max_tokens)
    val = None
    if "val" in dataset.splits and len(dataset.split("val")) > 1:
        val = InOrder(Pairs(dataset, dataset.split("val"), tokenizer, max_tokens), config.batch_size)
    batches = Batches(train.batch, len(train), config.batch_size, seed)
    fit(
        module,
        batches,
        val,
        max_steps=config.max_steps,
        val_every=config.val_every,
        scratch=scratch,
        desc="blip",
        best=Best("val/mean_recall", highest=True, patience=config.patience),  # the losses rise long before it falls
    )


def measure(blip: Blip, dataset: PreparedSet, seed: int) -> Table:
    """The table of the test pairs, its thresholds chosen on the val pairs."""
    splits = {name: dataset.split(name) for name in ("test", "val") if name in dataset.splits}
    scores = {name: score_pairs(blip, dataset, split, seed) for name, split in splits.items() if len(split)}
    return build_table(scores.get("test"), scores.get("val"), seed)


class Pairs:
    """The pairs of a split as batches, captions turned into tokens once."""

    def __init__(self, dataset: PreparedSet, split: Split, tokenizer: BertTokenizerFast, max_tokens: int) -> None:
        self.images, self.image_rows = dataset.images, split.image_rows
        encoded = encode_captions(tokenizer, split.captions, max_tokens)
        self.input_ids, self.attention_mask = encoded.input_ids, encoded.attention_mask
        self.lengths = self.attention_mask.sum(1)
        _, self.caption_index = np.unique(np.array([c.lower() for c in split.captions]), return_inverse=True)

    def __len__(self) -> int:
        return len(self.image_rows)

    def batch(self, rows: np.ndarray) -> Batch:
        """The pairs of row numbers (B,) int64, captions padded to the longest of them."""
        longest = int(self.lengths[rows].max())
        return Batch(
            image=to_tensor(self.images[self.image_rows[rows]]),
            input_ids=self.input_ids[rows, :longest],
            attention_mask=self.attention_mask[rows, :longest],
            image_index=torch.from_numpy(self.image_rows[rows]),
            caption_index=torch.from_numpy(self.caption_index[rows]),
        )


class InOrder:
    """Every pair once, in order; a last single pair, which has nothing to be told apart from, is left out."""

    def __init__(self, pairs: Pairs, batch_size: int) -> None:
        self.pairs, self.batch_size = pairs, batch_size

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.pairs) - 1, self.batch_size):
            yield self.pairs.batch(np.arange(start, min(start + self.batch_size, len(self.pairs))))


def _max_tokens(config: BlipConfig, network: BlipNetwork) -> int:
    """Longest caption in tokens: as configured, but never longer than a checkpoint has positions for."""
    return min(config.max_tokens, int(network.retrieval.config.text_config.max_position_embeddings))


def _summary(table: Table) -> str:
    shown = ("itm_f1", "itc_f1", "text_to_image_r1", "text_to_image_r10")
    values = {name: table[name]["value"] for name in shown}
    return ", ".join(f"{name} {'not available' if v is None else f'{v:.3f}'}" for name, v in values.items())
