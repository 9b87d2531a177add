"""Stage `prior`: pictures' codes and captions in, two PixelSNAIL networks out."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.blip import Features, load_features
from stages.codes import CodeStore, Schema, SplitCodes
from stages.config import RunConfig
from stages.config.prior import LevelConfig, PriorConfig
from stages.data import pictures_at_once
from stages.metrics import TABLE_REPEATS, Resampling, Table, figures_of, write_table
from stages.prior.captions import Captions
from stages.prior.measures import measure
from stages.prior.module import CodeBatch, PriorModule
from stages.prior.pixelsnail import PixelSNAIL, PixelSNAILSizes
from stages.prior.prior import LEVELS, Prior, save_prior
from stages.training import Batches, Best, Sweep, fit, parameter_count, steps_done
from stages.workspace import Workspace

log = logging.getLogger("stages.prior")
MEASURED_TRAIN_PAIRS = 500
PAIRS_AT_ONCE = 100


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
    widths = {"token_width": features.token_width, "pooled_width": features.text_pooled.shape[-1]}
    modules = {}
    for name in LEVELS:
        sizes = sizes_of(name, config.prior, store.schema, **widths)
        modules[name] = PriorModule(PixelSNAIL(sizes), _level(name, config.prior), config.prior)
        pairs = CodedPairs(train, features, name)
        fit(
            modules[name],
            Batches(pairs.batch, len(pairs), modules[name].level.batch_size, config.seed),
            _sweep(CodedPairs(val, features, name)),
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
        output.figures |= {f"parameters_{name}": parameter_count(module.network) for name, module in modules.items()}
        unseen = {level: CodedPairs(val, features, level) for level in LEVELS}
        seen = {level: CodedPairs(train, features, level, MEASURED_TRAIN_PAIRS) for level in LEVELS}
        table = _measure(modules, unseen, store, "val", config.seed)
        table |= _measure(modules, seen, store, "train", config.seed)
        write_table(table, output.directory)
        output.figures |= figures_of(table)
        output.figures["pictures_seen"] = pictures_seen(modules, workspace.scratch("prior"))
    _report(output.figures)


def _sweep(pairs: CodedPairs) -> Sweep:
    """Every pair once, in batches of as much memory whatever the pictures' side."""
    image_size = 4 * pairs.codes.bottom.shape[1]  # pixels
    return Sweep(pairs.batch, len(pairs), pictures_at_once(image_size, PAIRS_AT_ONCE))


def _measure(
    modules: dict[str, PriorModule], pairs: dict[str, CodedPairs], store: CodeStore, split: str, seed: int
) -> Table:
    """The figures of a split's pairs, by level the same ones; a picture's pairs are resampled together."""
    top = pairs["top"]
    resampling = Resampling(TABLE_REPEATS, seed).of_pictures(pictures_of(store, split, top.codes.record_rows[top.rows]))
    return measure(modules, {level: _sweep(found) for level, found in pairs.items()}, split, resampling)


def pictures_of(store: CodeStore, split: str, record_rows: np.ndarray) -> list[str]:
    """The file name of the picture of each pair (n,), of whatever view, by its place in the prepared set."""
    rows = store.rows(split).record_rows
    numbers = np.flatnonzero(np.isin(rows, record_rows)).tolist()
    names = {int(rows[n]): about.file_name for n, about in zip(numbers, store.about(split, numbers), strict=True)}
    return [names[row] for row in record_rows.tolist()]


def _level(name: str, config: PriorConfig) -> LevelConfig:
    level: LevelConfig = getattr(config, name)
    return level


def sizes_of(name: str, config: PriorConfig, schema: Schema, *, token_width: int, pooled_width: int) -> PixelSNAILSizes:
    """Of the network for this level of codes.

    Args:
        name: "top" or "bottom".
        schema: of the store that the codes are in.
        token_width, pooled_width: of the captions' features, of each token and of a whole caption.
    """
    level = _level(name, config)
    text_widths = {"tokens": token_width, "pooled": pooled_width, "codes": schema.text_codes}
    shared = {f.name for f in dataclasses.fields(PixelSNAILSizes)} & {f.name for f in dataclasses.fields(LevelConfig)}
    return PixelSNAILSizes(
        side=schema.top_side if name == "top" else schema.bottom_side,
        codebook_size=schema.codebook_size,
        text=config.text,
        text_width=text_widths[config.text],
        context_side=0 if name == "top" else schema.top_side,
        **{key: getattr(level, key) for key in shared},
    )


def pictures_seen(modules: dict[str, PriorModule], scratch: Path) -> int:
    """Training pictures that the network which was shown most of them has seen, repeats counted."""
    curves = scratch / "curves.jsonl"
    return max(steps_done(curves, f"prior-{name}") * module.level.batch_size for name, module in modules.items())


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
