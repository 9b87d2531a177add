"""Stage `prior`: pictures' codes and captions in, two PixelSNAIL networks out."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.blip import Features, load_features
from stages.codes import CodeStore, SplitCodes
from stages.config import RunConfig
from stages.config.prior import LevelConfig, PriorConfig
from stages.prior.captions import Captions
from stages.prior.module import CodeBatch, PriorModule
from stages.prior.pixelsnail import PixelSNAIL, PixelSNAILSizes
from stages.prior.prior import Prior, save_prior
from stages.training import Batches, Best, Sweep, fit, parameter_count, steps_done
from stages.workspace import Workspace

log = logging.getLogger("stages.prior")
MEASURED_TRAIN_PAIRS = 500


class CodedPairs:
    """Batches of a split's codes on one level, with captions.

    Args:
        most: at most so many of the split's pairs, drawn at random; None for all.
    """

    def __init__(self, codes: SplitCodes, features: Features, level: str, most: int | None = None) -> None:
        self.codes, self.features, self.level = codes, features, level
        self.rows = np.random.default_rng(0).permutation(len(codes))[:most]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, numbers: np.ndarray) -> CodeBatch:
        """Pairs of these numbers, from 0; tokens are cut to the longest caption among them."""
        rows = self.rows[numbers]
        top = _int64(self.codes.top[rows])
        codes, context = (top, None) if self.level == "top" else (_int64(self.codes.bottom[rows]), top)
        return CodeBatch(codes, context, self._captions(rows))

    def _captions(self, rows: np.ndarray) -> Captions:
        records = self.codes.record_rows[rows]
        tokens, mask = self.features.text(records)
        pooled = torch.from_numpy(np.asarray(self.features.text_pooled[records]))
        return Captions(tokens, mask, pooled, _int64(self.codes.text[rows]))


def run(config: RunConfig, workspace: Workspace) -> None:
    """Trains each level on `train`, validates on `val` with true and with shuffled captions."""
    torch.manual_seed(config.seed)
    features = load_features(workspace.require("blip"))
    store = CodeStore.open(workspace.require("codes"), blip=workspace.digest("blip"))
    train, val = store.read_train(), store.read("val")
    modules = {}
    for name in ("top", "bottom"):
        sizes = _sizes(name, config.prior, store, features)
        modules[name] = PriorModule(PixelSNAIL(sizes), _level(name, config.prior), config.prior)
        pairs, held_out = CodedPairs(train, features, name), CodedPairs(val, features, name)
        fit(
            modules[name],
            Batches(pairs.batch, len(pairs), modules[name].level.batch_size, config.seed),
            Sweep(held_out.batch, len(held_out), 100),
            max_steps=modules[name].level.max_steps,
            val_every=config.prior.val_every,
            scratch=workspace.scratch("prior"),
            desc=f"prior {name}",
            ema_decay=config.prior.ema_decay,
            best=Best("val/loss", patience=config.prior.patience),
            precision=config.prior.precision,
        )
    with workspace.publish("prior") as output:
        save_prior(Prior(modules["top"].network, modules["bottom"].network), output.directory)
        for name, module in modules.items():
            output.figures[f"parameters_{name}"] = parameter_count(module.network)
            output.figures |= measure(module, CodedPairs(val, features, name), name, "val")
            seen = CodedPairs(train, features, name, most=MEASURED_TRAIN_PAIRS)
            output.figures |= measure(module, seen, name, "train")
        output.figures |= _together(output.figures, train)
        output.figures["pictures_seen"] = pictures_seen(modules, workspace.scratch("prior"))
    _report(output.figures)


def _level(name: str, config: PriorConfig) -> LevelConfig:
    level: LevelConfig = getattr(config, name)
    return level


def _sizes(name: str, config: PriorConfig, store: CodeStore, features: Features) -> PixelSNAILSizes:
    level = _level(name, config)
    text_widths = {
        "tokens": features.text_tokens.shape[-1],
        "pooled": features.text_pooled.shape[-1],
        "codes": store.schema.text_codes,
    }
    shared = {f.name for f in dataclasses.fields(PixelSNAILSizes)} & {f.name for f in dataclasses.fields(LevelConfig)}
    return PixelSNAILSizes(
        side=store.schema.top_side if name == "top" else store.schema.bottom_side,
        codebook_size=store.schema.codebook_size,
        text=config.text,
        text_width=text_widths[config.text],
        context_side=0 if name == "top" else store.schema.top_side,
        **{key: getattr(level, key) for key in shared},
    )


def pictures_seen(modules: dict[str, PriorModule], scratch: Path) -> int:
    """Training pictures that the network which was shown most of them has seen, repeats counted."""
    curves = scratch / "curves.jsonl"
    return max(steps_done(curves, f"prior-{name}") * module.level.batch_size for name, module in modules.items())


@torch.no_grad()
def measure(module: PriorModule, pairs: CodedPairs, level: str, split: str) -> dict[str, float]:
    """Bits per code of a split with its captions, with other pictures' captions, and with none."""
    totals = {"": 0.0, "_shuffled": 0.0, "_uncaptioned": 0.0}
    for batch in Sweep(pairs.batch, len(pairs), 100):
        variants = {
            "": batch,
            "_shuffled": batch._replace(captions=batch.captions.shuffle()),
            "_uncaptioned": batch._replace(captions=batch.captions.drop()),
        }
        for suffix, variant in variants.items():
            totals[suffix] += float(module._step(variant)) * len(batch.codes)
    return {f"{split}_nll_bits_per_code_{level}{suffix}": total / len(pairs) for suffix, total in totals.items()}


def _together(figures: dict[str, Any], codes: SplitCodes) -> dict[str, float]:
    """Bits per code over both levels' codes of a picture together."""
    top, bottom = codes.top[0].size, codes.bottom[0].size
    return {
        f"{split}_nll_bits_per_code{suffix}": (
            top * figures[f"{split}_nll_bits_per_code_top{suffix}"]
            + bottom * figures[f"{split}_nll_bits_per_code_bottom{suffix}"]
        )
        / (top + bottom)
        for split in ("val", "train")
        for suffix in ("", "_shuffled", "_uncaptioned")
    }


def _int64(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(codes, dtype=np.int64))


def _report(figures: dict[str, float]) -> None:
    log.info(
        "prior: val bits per code %.3f top, %.3f bottom; with shuffled captions %.3f and %.3f; on train %.3f and %.3f",
        *(
            figures[f"{split}_nll_bits_per_code_{level}{suffix}"]
            for split, suffix in (("val", ""), ("val", "_shuffled"), ("train", ""))
            for level in ("top", "bottom")
        ),
    )
