"""FID, KID and the Inception score by torchmetrics, of Inception v3 with its real weights only (by torch-fidelity)."""

import hashlib
import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stages.metrics.perceptual import EVALUATE_AGAIN

WEIGHTS_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
KID_SUBSET = 1000
"""Pictures in a subset of KID, at most; where there are no more than that the one subset is all of them."""
KID_SUBSETS = 100


class Inception(NamedTuple):
    """An Inception network, or the reason why there is none."""

    network: nn.Module | None
    """Pictures (B,3,H,W) uint8 -> features (B,F) and logits (B,C)."""
    reason: str | None


class InceptionFeatures(NamedTuple):
    """What Inception makes of n pictures."""

    pooled: Tensor
    """(n,F); F = 2048."""
    logits: Tensor
    """(n,C), without the bias of the last layer; C = 1008."""


def weights_file() -> Path:
    """Where torch hub keeps the weights, there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_URL.rpartition("/")[2]


def load_inception() -> Inception:
    """Inception v3 as FID's authors used it, from the torch hub cache; nothing is downloaded."""
    if importlib.util.find_spec("torch_fidelity") is None:
        return Inception(
            None, f"the package torch-fidelity is not installed; pip install '.[fid]' and {EVALUATE_AGAIN}"
        )
    path = weights_file()
    how = f"put {WEIGHTS_URL} there and {EVALUATE_AGAIN}"
    if not path.is_file():
        return Inception(None, f"the weights of Inception v3 are not at {path}; {how}")
    with path.open("rb") as handle:
        if not hashlib.file_digest(handle, "sha256").hexdigest().startswith(path.stem.rpartition("-")[2]):
            return Inception(None, f"{path} is damaged (its sha256 does not begin with what its name says); {how}")
    torch.load(path, weights_only=True)  # torch-fidelity reads it as a pickle: there must be nothing but tensors in it
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(path))
    return Inception(network.to("cuda" if torch.cuda.is_available() else "cpu"), None)


@torch.no_grad()
def inception_features(network: nn.Module, pictures: np.ndarray, batch_size: int) -> InceptionFeatures:
    """Features and logits of pictures (n,H,W,3) uint8, each seen once."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    parts = []
    for start in range(0, len(pictures), batch_size):
        batch = torch.from_numpy(np.array(pictures[start : start + batch_size])).permute(0, 3, 1, 2)
        parts.append([found.float().cpu() for found in network(batch.to(device))])
    pooled, logits = (torch.cat(found) for found in zip(*parts, strict=True))
    return InceptionFeatures(pooled, logits)


def fid(features: Tensor, reference: Tensor) -> float:
    """Fréchet Inception distance (arXiv:1706.08500), from 0 up, of features (n,F) and (m,F)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Computed(features.shape[1]))
    metric.update(reference.double(), real=True)
    metric.update(features.double(), real=False)
    return max(0.0, float(metric.compute()))


def kid(features: Tensor, reference: Tensor, seed: int) -> float:
    """Kernel Inception distance (arXiv:1801.01401) of features (n,F) and (m,F), mean over subsets; may be below 0."""
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(KID_SUBSET, len(features), len(reference))
    subsets = 1 if size == max(len(features), len(reference)) else KID_SUBSETS
    with _quiet(seed):
        metric = KernelInceptionDistance(feature=_Computed(features.shape[1]), subsets=subsets, subset_size=size)
        metric.update(reference.double(), real=True)
        metric.update(features.double(), real=False)
        return float(metric.compute()[0])


def inception_score(logits: Tensor, seed: int) -> float:
    """Inception score (arXiv:1606.03498), from 1 up, of logits (n,C), all pictures in one split."""
    from torchmetrics.image.inception import InceptionScore

    with _quiet(seed):
        metric = InceptionScore(feature=_Computed(logits.shape[1]), splits=1)
        metric.update(logits.double())
        return float(metric.compute()[0])


class _Computed(nn.Identity):
    """Stands where torchmetrics asks for a network: what it is given are the network's features already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


@contextmanager
def _quiet(seed: int) -> Iterator[Any]:
    """torchmetrics draws from the global generator, and warns of memory and of the spread of a single split."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore", UserWarning)
        yield
