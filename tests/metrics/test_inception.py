from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from stages.metrics.inception import (
    InceptionFeatures,
    fid,
    inception_features,
    inception_score,
    kid,
    load_inception,
    weights_file,
)


class Small(nn.Module):
    """A feature extractor in Inception's place: means over quarters of the picture, and logits of those."""

    num_features = 12

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.classes = nn.Linear(12, 5)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        assert image.dtype == torch.uint8
        pooled = nn.functional.adaptive_avg_pool2d(image.float() / 255, 2).flatten(1)
        return pooled, 8 * self.classes(pooled)


class One(nn.Module):
    """One of its two outputs, as torchmetrics wants its networks."""

    def __init__(self, network: Small, which: int) -> None:
        super().__init__()
        self.network, self.which, self.num_features = network, which, network.num_features

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)[self.which]


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """60 real and 60 other pictures, (2,60,8,8,3) uint8."""
    rng = np.random.default_rng(0)
    real = rng.normal(120, 30, (60, 2, 2, 3)).repeat(4, 1).repeat(4, 2)
    other = rng.normal(140, 45, (60, 2, 2, 3)).repeat(4, 1).repeat(4, 2)
    return np.clip(np.stack([real, other]), 0, 255).astype(np.uint8)


def seen(pictures: np.ndarray) -> tuple[InceptionFeatures, InceptionFeatures]:
    with torch.no_grad():
        real, other = (inception_features(Small(), each, 25) for each in pictures)
    return other, real


def as_tensor(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def test_each_picture_is_seen_once_in_order(pictures: np.ndarray) -> None:
    own, _ = seen(pictures)
    assert own.pooled.shape == (60, 12) and own.logits.shape == (60, 5)
    quarter = pictures[1, 7, :4, :4, 0].mean() / 255
    assert float(own.pooled[7, 0]) == pytest.approx(quarter, abs=1e-6)


def test_fid_is_torchmetrics_on_the_network_and_the_formula(pictures: np.ndarray) -> None:
    own, real = seen(pictures)
    theirs = FrechetInceptionDistance(feature=One(Small(), 0))
    with torch.no_grad():
        theirs.update(as_tensor(pictures[0]), real=True)
        theirs.update(as_tensor(pictures[1]), real=False)
    found = fid(own.pooled, real.pooled)
    assert found == pytest.approx(float(theirs.compute()), abs=1e-4)
    a, b = own.pooled.double().numpy(), real.pooled.double().numpy()
    roots = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    formula = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * roots)
    assert found == pytest.approx(formula, abs=1e-4) and fid(real.pooled, real.pooled) == pytest.approx(0, abs=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_kid_is_torchmetrics_on_the_network(pictures: np.ndarray) -> None:
    own, real = seen(pictures)
    theirs = KernelInceptionDistance(feature=One(Small(), 0), subsets=1, subset_size=60)
    with torch.no_grad():
        theirs.update(as_tensor(pictures[0]), real=True)
        theirs.update(as_tensor(pictures[1]), real=False)
    found = kid(own.pooled, real.pooled, seed=0)
    assert found == pytest.approx(float(theirs.compute()[0]), abs=1e-5) and found > 0.01
    assert kid(own.pooled[:30], real.pooled, seed=0) == kid(own.pooled[:30], real.pooled, seed=0)  # subsets by seed
    before = torch.get_rng_state()
    kid(own.pooled, real.pooled, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_inception_score_is_torchmetrics_and_by_hand(pictures: np.ndarray) -> None:
    own, _ = seen(pictures)
    theirs = InceptionScore(feature=One(Small(), 1), splits=1)
    with torch.no_grad():
        theirs.update(as_tensor(pictures[1]))
    assert inception_score(own.logits, seed=0) == pytest.approx(float(theirs.compute()[0]), abs=1e-4)
    sure = 100 * torch.eye(5).repeat(4, 1)  # five classes, each as often, each beyond doubt
    assert inception_score(sure, seed=0) == pytest.approx(5)
    assert inception_score(torch.zeros(10, 5), seed=0) == pytest.approx(1)


def test_without_its_weights_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    pytest.importorskip("torch_fidelity")
    found = load_inception()
    assert found.network is None and str(weights_file()) in str(found.reason) and "https://" in str(found.reason)
    weights_file().parent.mkdir(parents=True)
    torch.save({}, weights_file())
    damaged = load_inception()
    assert damaged.network is None and "damaged" in str(damaged.reason)


def test_without_its_package_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = load_inception()
    assert found.network is None and "pip install" in str(found.reason)
