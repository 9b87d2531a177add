"""Bits per code of a split: with its captions, with other pictures' captions, and with none."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from stages.metrics import Resampling, Table, mean_metric
from stages.prior.module import PriorModule
from stages.training import Sweep

LEVELS = {"top": "the top codes", "bottom": "the bottom codes"}
CAPTIONS = {"": "their own captions", "_shuffled": "the captions of other pictures", "_uncaptioned": "no captions"}
"""What ends a figure's name -> what the pictures' codes are told with."""


def measure(
    modules: Mapping[str, PriorModule], batches: Mapping[str, Sweep], split: str, resampling: Resampling
) -> Table:
    """`<split>_nll_bits_per_code` of both levels' codes together, and `..._top` and `..._bottom` of one level.

    Each also as `..._shuffled`, given the caption of another picture, and `..._uncaptioned`, given none.

    Args:
        modules: by level.
        batches: by level, of `CodeBatch`: the same pictures in the same order.
    """
    found = {level: bits_by_picture(modules[level], batches[level]) for level in LEVELS}
    cells = [modules[level].network.sizes.side ** 2 for level in LEVELS]
    table: Table = {}
    for told, captions in CAPTIONS.items():
        both = np.average([found[level][told] for level in LEVELS], axis=0, weights=cells)
        rows = {"": (both, "all codes"), **{f"_{level}": (found[level][told], what) for level, what in LEVELS.items()}}
        for ending, (bits, what) in rows.items():
            protocol = (
                f"mean over pictures of '{split}': negative log-likelihood of {what}, bits a code, given {captions}"
            )
            table[f"{split}_nll_bits_per_code{ending}{told}"] = mean_metric(bits, protocol, resampling)
    return table


@torch.no_grad()
def bits_by_picture(module: PriorModule, batches: Sweep) -> dict[str, np.ndarray]:
    """By what ends a figure's name: bits per code (n,) of each picture, in the order of the batches."""
    found: dict[str, list[Tensor]] = {told: [] for told in CAPTIONS}
    for batch in batches:
        found[""].append(module.bits_per_code(batch))
        found["_shuffled"].append(module.bits_per_code(batch._replace(captions=batch.captions.shuffle())))
        found["_uncaptioned"].append(module.bits_per_code(batch._replace(captions=batch.captions.drop())))
    return {told: torch.cat(bits).double().numpy() for told, bits in found.items()}
