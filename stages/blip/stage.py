"""The stage `blip`: tunes BLIP on the train pairs, publishes its weights, features of the whole set, and its table."""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import BertTokenizerFast

from stages.blip.batch import InOrder, Pairs
from stages.blip.blip import DESCRIPTION, Blip
from stages.blip.features import Features, extract_features, load_features, weights_digest
from stages.blip.module import BlipModule
from stages.blip.network import BlipNetwork, build_network
from stages.blip.pretrained import load_pretrained, save_network
from stages.blip.scores import score_pairs, write_captions
from stages.blip.smells import smell_table
from stages.blip.table import build_table, caption_table, histograms
from stages.blip.tokenizer import train_tokenizer
from stages.blip.tuning import choose_tuned, merge_tuned
from stages.config import RunConfig
from stages.config.blip import BlipConfig
from stages.data import PreparedSet, load_dataset
from stages.metrics import Table, figures_of, write_table
from stages.training import Batches, Best, fit, parameter_count
from stages.workspace import Workspace

_log = logging.getLogger("stages.blip")


def run(config: RunConfig, workspace: Workspace) -> None:
    """Tunes, extracts, measures and publishes.

    Raises:
        StageError: the data stage has not been run, or a checkpoint named in the config is missing.
    """
    torch.manual_seed(config.seed)  # of dropout
    dataset = load_dataset(workspace.require("data"))
    module, tokenizer = prepare(config.blip, dataset, config.seed)
    figures: dict[str, Any] = {"parameters": parameter_count(module), "vocabulary": len(tokenizer)}
    tune(module, tokenizer, dataset, config.seed, workspace.scratch("blip"))
    merge_tuned(module.network)
    with workspace.publish("blip") as output:
        save_network(module.network.cpu(), tokenizer, output.directory)
        digest = weights_digest(output.directory)
        max_tokens = _max_tokens(config.blip, module.network)
        description = {
            "max_tokens": max_tokens,
            "temperature": float(module.temperature().detach()),
            "weights_sha256": digest,
        }
        _write_json(output.directory / DESCRIPTION, description)
        blip = Blip(module.network, tokenizer, max_tokens).to("cuda" if torch.cuda.is_available() else "cpu")
        truncated = extract_features(blip, dataset, output.directory / "features", digest)
        measured = measure(blip, load_features(output.directory), dataset, config.seed)
        write_table(measured.table, output.directory)
        _write_json(output.directory / "histograms.json", measured.histograms)
        output.figures |= figures | {"captions_truncated": truncated} | figures_of(measured.table)
    _log.info("blip: %s of %d captions truncated; %s", truncated, len(dataset.records), _summary(measured.table))


def prepare(config: BlipConfig, dataset: PreparedSet, seed: int) -> tuple[BlipModule, BertTokenizerFast]:
    """The untuned module and its tokenizer: a checkpoint's, or new ones (vocabulary of the train captions)."""
    if config.pretrained:
        start = config.pretrained, config.pretrained_captioner
        network, tokenizer = load_pretrained(*start, seed, config.image_size)
    else:
        tokenizer = train_tokenizer(dataset.split("train").captions, config.vocab_size, config.max_tokens)
        network = build_network(config, tokenizer, dataset.image_size, seed)
    choose_tuned(network, config, seed)
    return BlipModule(network, config, seed), tokenizer


def tune(module: BlipModule, tokenizer: BertTokenizerFast, dataset: PreparedSet, seed: int, scratch: Path) -> None:
    """Trains the module in place on the train pairs, validated on the val pairs where there are any."""
    config = module.config
    max_tokens = _max_tokens(config, module.network)
    train = Pairs(dataset, dataset.split("train"), tokenizer, max_tokens)
    val = None
    if "val" in dataset.splits and len(dataset.split("val")) > 1:
        val = InOrder(Pairs(dataset, dataset.split("val"), tokenizer, max_tokens), config.batch_size)
    if train.truncated:
        _log.warning("blip: %d of %d train captions truncated to %d tokens", train.truncated, len(train), max_tokens)
    batches = Batches(train.batch, len(train), config.batch_size, seed)
    fit(
        module,
        batches,
        val,
        max_steps=config.max_steps,
        val_every=config.val_every,
        scratch=scratch,
        desc="blip",
        accumulate=config.accumulate,
        best=Best("val/mean_recall", highest=True, patience=config.patience),  # the losses rise long before it falls
    )


class Measured(NamedTuple):
    """How well a BLIP does on held-out pairs."""

    table: Table
    histograms: dict[str, Any]


def measure(blip: Blip, features: Features, dataset: PreparedSet, seed: int) -> Measured:
    """The figures of the test pairs, their thresholds chosen on the val pairs."""
    splits = {name: dataset.split(name) for name in ("test", "val") if name in dataset.splits}
    scores = {name: score_pairs(blip, features, dataset, split, seed) for name, split in splits.items()}
    test, val = scores.get("test"), scores.get("val")
    table = build_table(test, val, seed)
    if "test" in splits:
        written = write_captions(blip, dataset, splits["test"])
        table |= caption_table(splits["test"].captions, written, splits["test"].image_rows, seed)
    table |= smell_table(blip, features, dataset, seed)
    return Measured(table, histograms(test, val))


def _max_tokens(config: BlipConfig, network: BlipNetwork) -> int:
    """Longest caption in tokens: as configured, but never longer than a checkpoint has positions for."""
    towers = network.retrieval.config.text_config, network.captioner.config.text_config
    return min(config.max_tokens, *(int(tower.max_position_embeddings) for tower in towers))


def _summary(table: Table) -> str:
    shown = ("itm_f1", "itm_hard_f1", "text_to_image_r1", "text_to_image_r10")
    values = {name: table[name].value for name in shown}
    return ", ".join(f"{name} {'not available' if v is None else f'{v:.3f}'}" for name, v in values.items())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
