"""Bits per code of a split: with its captions, with other pictures' captions, and with none."""

from collections.abc import Mapping

import numpy as np
import torch
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor

from stages.metrics import Resampling, Table, mean_metric
from stages.prior.module import PriorModule
from stages.prior.prior import LEVELS
from stages.prior.sampler import convolving_in_float32
from stages.training import Sweep

TOLD = ("", "_shuffled", "_uncaptioned")
"""What ends a figure's name: the pairs' own captions are given, those of other pictures, or none."""
_PROTOCOL = (
    "mean over pairs of the negative log-likelihood of a picture's codes, in bits a code; of val every pair, of train "
    "some drawn at random, shifted views among them"
)


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
    for told in TOLD:
        bits = {f"_{level}": found[level][told] for level in LEVELS}
        both = np.average(list(bits.values()), axis=0, weights=cells)
        for level, values in {"": both, **bits}.items():
            table[f"{split}_nll_bits_per_code{level}{told}"] = mean_metric(values, _PROTOCOL, resampling)
    return table


@torch.no_grad()
@convolving_in_float32()
def bits_by_picture(module: PriorModule, batches: Sweep) -> dict[str, np.ndarray]:
    """By what ends a figure's name: bits per code (n,) of each pair in the order of the batches; on a GPU if it can."""
    found: dict[str, list[Tensor]] = {told: [] for told in TOLD}
    home, device = module.device, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device)
    for given in batches:
        batch = move_data_to_device(given, device)
        found[""].append(module.bits_per_code(batch))
        found["_shuffled"].append(module.bits_per_code(batch.with_others_captions()))
        found["_uncaptioned"].append(module.bits_per_code(batch._replace(captions=batch.captions.drop())))
    module.to(home)
    return {told: torch.cat(bits).double().cpu().numpy() for told, bits in found.items()}
