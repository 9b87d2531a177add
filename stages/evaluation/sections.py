"""What stands beside the systems in `metrics.json`: figures that earlier stages measured."""

import json
import math
import re
from typing import Any

from stages.errors import StageError
from stages.metrics.pixels import PUBLISHED_PEAK, TRUE_PEAK
from stages.workspace import Workspace

VQVAE_FIGURES = (
    "mse",
    "usage_top",
    "usage_bottom",
    "perplexity_top",
    "perplexity_bottom",
    "distinct_per_grid_top",
    "distinct_per_grid_bottom",
    "mse_other_top",
    "mse_other_bottom",
    "text_code_retrieval_r10",
    "text_code_retrieval_chance",
)

PRIOR_FIGURES = re.compile(r"val_nll_bits_per_code.*|train_nll_bits_per_code(_top|_bottom)?")


def vqvae_section(workspace: Workspace) -> dict[str, Any]:
    """`mse`, both PSNRs of that mean error, and how the codes are used, as measured by `vqvae` on `test`."""
    figures = workspace.manifest("vqvae")["figures"]
    section = {name: figures.get(name) for name in VQVAE_FIGURES}
    error = figures.get("mse")
    for name, peak in (("psnr_db", TRUE_PEAK), ("psnr_db_as_published", PUBLISHED_PEAK)):
        section[name] = 10 * math.log10(peak**2 / error) if error else None
    if None in section.values():
        section["reason"] = "what is null here is not in the manifest of vqvae"
    return section


def blip_section(workspace: Workspace) -> dict[str, Any]:
    """BLIP's own table, as `blip` measured it."""
    path = workspace.directory("blip") / "table.json"
    if not path.is_file():
        return {"reason": f"{path} is missing"}
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table


def prior_section(workspace: Workspace) -> dict[str, Any]:
    """`val_nll_bits_per_code`, the same per level, with shuffled captions, and on train, as `prior` measured them."""
    try:
        figures = workspace.manifest("prior")["figures"]
    except StageError as error:
        return {"val_nll_bits_per_code": None, "val_nll_bits_per_code_shuffled": None, "reason": str(error)}
    found = {name: value for name, value in figures.items() if PRIOR_FIGURES.fullmatch(name)}
    section = {"val_nll_bits_per_code": None, "val_nll_bits_per_code_shuffled": None, **found}
    return section if None not in section.values() else {**section, "reason": "not in the manifest of prior"}
