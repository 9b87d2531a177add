"""Held-out figures of a VQ-VAE, and what they say of a level that has collapsed."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from stages.vqvae.module import PictureBatch
from stages.vqvae.network import VQVAE, Codes, VQVAESizes

LEVELS = ("top", "bottom")
USED_AT_LEAST = 0.5
"""Share of the code book below which a level is said to have collapsed."""
DISTINCT_AT_LEAST = 4.0
"""Distinct codes in a picture's grid below which a level is said to have collapsed: it says one thing of the whole."""
MATTERS_AT_LEAST = 1.2
"""How many times larger the error must become with another picture's codes on a level for the level to matter."""
_RESTARTED = "lower vqvae.codebook_size: unused codes are started anew already, so these pictures need no more of them"
REMEDIES = {
    "ema": "lower vqvae.codebook_size, or set vqvae.quantizer to ema_restart or cosine",
    "ema_restart": _RESTARTED,
    "cosine": _RESTARTED,
    "rotation": _RESTARTED,
    "fsq": "lower vqvae.codebook_size, or set vqvae.quantizer to ema_restart, which starts unused codes anew",
    "lfq": "lower vqvae.codebook_size, or raise vqvae.entropy_weight, which spreads the codes",
}
"""Quantizer -> what helps against unused codes."""


@torch.no_grad()
def measure(network: VQVAE, batches: Iterable[PictureBatch]) -> dict[str, float]:
    """Figures of a held-out split.

    Args:
        batches: in mixed order, so that the neighbour of a picture in its batch is another one.

    Returns:
        `mse` in [-1,1] and `psnr_db` (peak 2); for each level `usage_*` (share of the code book), `perplexity_*`,
        `distinct_per_grid_*` (codes, mean over pictures) and `mse_other_*` (mse with the level's codes of another
        picture: what the level contributes); `text_code_retrieval_r10` (share of captions whose codes' nearest ten
        pictures have theirs among them) and `text_code_retrieval_chance`.
    """
    codes, squared, pictures, captions = [], [], [], []
    squared_other: dict[str, list[Tensor]] = {level: [] for level in LEVELS}
    for batch in batches:
        found = network.encode(batch.image, batch.image_embedding)
        codes.append(found)
        squared.append(_squared_error(network, found, batch.image))
        for level in LEVELS:
            others = found._replace(**{level: getattr(found, level).roll(1, dims=0)})
            squared_other[level].append(_squared_error(network, others, batch.image))
        pictures.append(network.decode_picture_embedding(network.embed_top(found.top).movedim(-1, 1)))
        captions.append(network.decode_text_embedding(network.embed_top(network.encode_text(batch.text_embedding))))
    mse = float(torch.cat(squared).mean())
    figures = {"mse": mse, "psnr_db": float(10 * np.log10(4 / mse))}
    for level in LEVELS:
        indices = torch.cat([getattr(c, level) for c in codes])
        used = {f"{name}_{level}": value for name, value in code_use(indices, network.codebook_size).items()}
        figures |= used | {f"mse_other_{level}": float(torch.cat(squared_other[level]).mean())}
    return figures | _retrieval(torch.cat(captions), torch.cat(pictures))


def code_use(indices: Tensor, codebook_size: int) -> dict[str, float]:
    """`usage` (0..1) and `perplexity` over all grids (N,h,w), and `distinct_per_grid`, mean over them."""
    shares = torch.bincount(indices.flatten(), minlength=codebook_size).double() / indices.numel()
    distinct = [len(grid.unique()) for grid in indices]
    return {
        "usage": float((shares > 0).double().mean()),
        "perplexity": float(torch.special.entr(shares).sum().exp()),
        "distinct_per_grid": float(np.mean(distinct)),
    }


def collapsed_levels(figures: dict[str, float], sizes: VQVAESizes) -> list[str]:
    """A line for each sign that a level does not carry what it should, with the remedy."""
    lines = []
    cells = {"top": sizes.top_side**2, "bottom": sizes.bottom_side**2}
    for level in LEVELS:
        usage, distinct = figures[f"usage_{level}"], figures[f"distinct_per_grid_{level}"]
        if usage < USED_AT_LEAST:
            lines.append(
                f"the {level} level uses only {100 * usage:.0f} % of its {sizes.codebook_size} codes: "
                + REMEDIES[sizes.quantizer]
            )
        if distinct < min(DISTINCT_AT_LEAST, cells[level] / 2):
            lines.append(
                f"a picture has only {distinct:.1f} distinct codes in its {level} grid of {cells[level]}, so that it "
                "says one thing of the whole picture: raise vqvae.coarse_weight"
            )
        if figures[f"mse_other_{level}"] < MATTERS_AT_LEAST * figures["mse"]:
            lines.append(
                f"with another picture's {level} codes the error is hardly larger ({figures[f'mse_other_{level}']:.4f} "
                f"against {figures['mse']:.4f}): the {level} level carries next to nothing; "
                + ("raise vqvae.coarse_weight" if level == "top" else "lower vqvae.coarse_weight")
            )
    return lines


def _squared_error(network: VQVAE, codes: Codes, image: Tensor) -> Tensor:
    """(B,) mean squared error of each picture."""
    return (network.decode(codes) - image).square().mean(dim=(1, 2, 3))


def _retrieval(captions: Tensor, pictures: Tensor) -> dict[str, float]:
    """Of equally near pictures each is as likely to be among the ten: one code for all finds no more than chance."""
    similarity = captions @ pictures.T  # (n,n)
    own = similarity.diagonal()[:, None]
    nearer = (similarity > own).sum(dim=1)
    equal = (similarity == own).sum(dim=1)  # its own among them
    return {
        "text_code_retrieval_r10": float(((10 - nearer) / equal).clamp(0, 1).mean()),
        "text_code_retrieval_chance": min(1.0, 10 / len(captions)),
    }
