"""Held-out figures of a VQ-VAE, and what they say of a level that has collapsed."""

import numpy as np
import torch
from torch import Tensor

from stages.metrics import Metric, Resampling, Samples, Table, combined_metric, mean_metric
from stages.metrics.pixels import PUBLISHED_PEAK, TRUE_PEAK
from stages.training import Sweep, other_rows
from stages.vqvae.network import VQVAE, Codes, VQVAESizes

LEVELS = ("top", "bottom")
USED_AT_LEAST = 0.5
"""Share of the code book below which a level is said to have collapsed."""
DISTINCT_AT_LEAST = 4.0
"""Distinct codes in a picture's grid below which a level is said to have collapsed: it says one thing of the whole."""
MATTERS_AT_LEAST = 1.2
"""How many times larger the error must become with another picture's codes on a level for the level to matter."""
CAPTIONS_AT_ONCE = 1024
"""Captions compared with all pictures at a time."""
_REBUILT = "pairs' pictures in [-1,1], each against itself through the VQ-VAE, not rounded to 8 bits"
_SEARCHED = (
    "captions whose codes' nearest 10 pictures, by what the network reads from either's top codes, have theirs among "
    "them; by lot between equally near ones"
)
_PER_LEVEL = {
    "usage": "share of the code book in use over all pictures",
    "perplexity": "exp of the entropy of the codes over all pictures, in [1,K]",
    "distinct_per_grid": "mean over pairs of the different codes in a picture's grid",
    "mse_other": "mean squared error with another picture's codes on this level",
}
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
def measure(network: VQVAE, batches: Sweep, resampling: Resampling) -> Table:
    """Figures of a held-out split, means with intervals over its pairs.

    Args:
        batches: of `PictureBatch`, in mixed order, so that the picture before a picture is of another kind; the figures
            do not depend on how many there are in a batch.
        resampling: of the pairs, in the order of the batches.

    Returns:
        `mse` in [-1,1], `psnr_db` (peak 2) and `psnr_db_as_published` (peak 1) of that mean error; for each level
        `usage_*` (share of the code book), `perplexity_*`, `distinct_per_grid_*` (codes, mean over pictures) and
        `mse_other_*` (mse with the level's codes of another picture: what the level contributes);
        `text_code_retrieval_r10` (share of captions whose codes' nearest ten pictures have theirs among them) and
        `text_code_retrieval_chance`.
    """
    parts, pictures, captions = [], [], []
    for batch in batches:
        found = network.encode(batch.image, batch.image_embedding)
        parts.append(found)
        pictures.append(network.decode_picture_embedding(network.embed_top(found.top).movedim(-1, 1)))
        captions.append(network.decode_text_embedding(network.embed_top(network.encode_text(batch.text_embedding))))
    codes = Codes(torch.cat([part.top for part in parts]), torch.cat([part.bottom for part in parts]))
    table = rebuilding(_squared_errors(network, codes, batches), resampling)
    another = other_rows(torch.cat([level.flatten(1) for level in codes], dim=1))  # by both levels, a picture is told
    for level in LEVELS:
        indices = getattr(codes, level)
        others = codes._replace(**{level: indices[another]})
        use = code_use(indices, network.codebook_size, resampling)
        errors = _squared_errors(network, others, batches)
        use["mse_other"] = mean_metric(errors, f"{_PER_LEVEL['mse_other']}; {_REBUILT}", resampling)
        table |= {f"{name}_{level}": metric for name, metric in use.items()}
    return table | retrieval(torch.cat(captions), torch.cat(pictures), resampling)


def rebuilding(errors: np.ndarray, resampling: Resampling) -> Table:
    """`mse` of each picture's mean squared error (n,), and the PSNR of that mean in dB for either peak.

    A mean of PSNRs would be infinite for the sake of one picture that is rebuilt exactly.
    """
    return {
        "mse": mean_metric(errors, f"mean squared error; {_REBUILT}", resampling),
        "psnr_db": _psnr(errors, TRUE_PEAK, "peak 2 (the true range)", resampling),
        "psnr_db_as_published": _psnr(errors, PUBLISHED_PEAK, "peak 1 (as published, 6.02 dB less)", resampling),
    }


def _psnr(errors: np.ndarray, peak: float, said: str, resampling: Resampling) -> Metric:
    protocol = f"PSNR in dB of the mean squared error, {said}; {_REBUILT}"
    if not 0 < errors.sum() < np.inf:
        return Metric.unavailable(f"it is not finite: the mean squared error is {errors.mean():g}", protocol)

    def of_sums(sums: np.ndarray) -> np.ndarray:
        mean = sums[:, 0] / sums[:, 1]
        return 10 * np.log10(np.divide(peak**2, mean, out=np.full_like(mean, np.nan), where=mean > 0))

    return combined_metric(Samples(np.stack([errors, np.ones_like(errors)], axis=1), of_sums), protocol, resampling)


def code_use(indices: Tensor, codebook_size: int, resampling: Resampling) -> Table:
    """`usage` (0..1) and `perplexity` over all grids (N,h,w), and `distinct_per_grid`, mean over them.

    The first two have no interval: a resample, which repeats grids, has fewer codes than as many new grids would.
    """
    shares = torch.bincount(indices.flatten(), minlength=codebook_size).double() / indices.numel()
    distinct = np.array([len(grid.unique()) for grid in indices])
    whole = {
        "usage": float((shares > 0).double().mean()),
        "perplexity": float(torch.special.entr(shares).sum().exp()),
    }
    table = {name: Metric(value, len(indices), None, _PER_LEVEL[name]) for name, value in whole.items()}
    return table | {"distinct_per_grid": mean_metric(distinct, _PER_LEVEL["distinct_per_grid"], resampling)}


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


def _squared_errors(network: VQVAE, codes: Codes, batches: Sweep) -> np.ndarray:
    """Mean squared error (n,) of each picture, painted from codes in the order of the batches."""
    squared, start = [], 0
    for batch in batches:
        these = slice(start, start + len(batch.image))
        painted = network.decode(Codes(codes.top[these], codes.bottom[these]))
        squared.append((painted - batch.image).square().mean(dim=(1, 2, 3)))
        start = these.stop
    return torch.cat(squared).double().numpy()


def retrieval(captions: Tensor, pictures: Tensor, resampling: Resampling) -> Table:
    """How often a caption's vector (n,E) finds its picture's among all (n,E).

    Of equally near pictures each is as likely to be among the ten: one code for all finds no more than chance.
    """
    found = []
    for start in range(0, len(captions), CAPTIONS_AT_ONCE):
        similarity = captions[start : start + CAPTIONS_AT_ONCE] @ pictures.T  # (m,n)
        own = similarity.diagonal(start)[:, None]
        nearer = (similarity > own).sum(dim=1)
        equal = (similarity == own).sum(dim=1)  # its own among them
        found.append(((10 - nearer) / equal).clamp(0, 1))
    chance = min(1.0, 10 / len(captions))
    return {
        "text_code_retrieval_r10": mean_metric(torch.cat(found).numpy(), f"share of {_SEARCHED}", resampling),
        "text_code_retrieval_chance": Metric(chance, len(captions), None, f"share by chance of {_SEARCHED}"),
    }
