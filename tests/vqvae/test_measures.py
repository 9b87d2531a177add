"""Figures by which a collapsed level is seen."""

from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch

from stages.blip import Features
from stages.config.vqvae import VqvaeConfig
from stages.data import PreparedSet, Record
from stages.metrics import Resampling, Table, figures_of
from stages.training import Sweep
from stages.vqvae import VQVAE, VQVAESizes
from stages.vqvae.measures import code_use, collapsed_levels, measure, rebuilding, retrieval
from stages.vqvae.stage import Pairs, sweep

RESAMPLING = Resampling(50, 0)
HEALTHY = {
    "mse": 0.01,
    **{f"usage_{level}": 0.9 for level in ("top", "bottom")},
    **{f"distinct_per_grid_{level}": 20.0 for level in ("top", "bottom")},
    **{f"mse_other_{level}": 0.1 for level in ("top", "bottom")},
}
SIZES = VQVAESizes(64, 8, 8, 1, 4, 4, 128, 2, "ema", 0.9)
QUANTIZERS: tuple[str, ...] = get_type_hints(VqvaeConfig)["quantizer"].__args__


def values(table: Table) -> dict[str, float]:
    """The figures alone; none is missing."""
    return {name: value for name, value in figures_of(table).items() if value is not None}


def pairs_of(count: int, side: int) -> Pairs:
    """Pictures at random with embeddings at random."""
    rng = np.random.default_rng(0)
    records = [Record(row, row, "a picture", f"{row}", "test", f"{row}", None) for row in range(count)]
    dataset = PreparedSet(Path(), rng.integers(0, 256, (count, side, side, 3), np.uint8), records, side, None)
    pooled = rng.standard_normal((count, 8)).astype(np.float32)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    nothing = np.zeros((count, 1))
    return Pairs(
        dataset, Features(nothing, nothing, nothing, nothing, pooled, pooled[::-1].copy()), dataset.split("test")
    )


def test_batches_are_of_as_many_pixels_whatever_the_pictures_side() -> None:
    for side, size in ((16, 128), (64, 128), (96, 56), (128, 32), (256, 8)):
        batches = [len(batch.image) for batch in sweep(pairs_of(130, side))]
        assert batches[0] == size and max(batches) == size and sum(batches) == 130


def test_figures_do_not_depend_on_the_batches() -> None:
    torch.manual_seed(0)
    network = VQVAE(replace(SIZES, image_size=16, quantizer="fsq", codebook_size=64)).eval().requires_grad_(False)
    for weight in network.parameters():
        weight.mul_(3)  # so that it matters which codes there are
    pairs = pairs_of(41, 16)
    whole = values(measure(network, Sweep(pairs.batch, len(pairs), 128, mixed=True), RESAMPLING))
    assert min(whole[f"mse_other_{level}"] for level in ("top", "bottom")) > 1.01 * whole["mse"]
    for size in (10, 5, 1):  # of 41 the last one would be alone
        parts = values(measure(network, Sweep(pairs.batch, len(pairs), size, mixed=True), RESAMPLING))
        assert parts == pytest.approx(whole, rel=1e-5), size


def test_another_picture_is_never_the_same_with_another_caption() -> None:
    torch.manual_seed(0)
    network = VQVAE(replace(SIZES, image_size=16, quantizer="fsq", codebook_size=64)).eval().requires_grad_(False)
    for weight in network.parameters():
        weight.mul_(3)
    pairs = pairs_of(2, 16)
    twice = np.array(
        [0, 0, 1, 1]
    )  # two captions of each of two pictures: were it the row before, half would be their own

    def errors(rows: np.ndarray) -> float:
        table = values(measure(network, Sweep(lambda numbers: pairs.batch(rows[numbers]), len(rows), 8), RESAMPLING))
        return table["mse_other_bottom"]

    assert errors(twice) == pytest.approx(errors(np.array([0, 1])), rel=1e-5)


def test_every_mean_has_its_interval_and_what_is_none_has_not() -> None:
    torch.manual_seed(0)
    network = VQVAE(replace(SIZES, image_size=16)).eval().requires_grad_(False)
    pairs = pairs_of(23, 16)
    table = measure(network, Sweep(pairs.batch, len(pairs), 8, mixed=True), RESAMPLING)
    without = {name for name, metric in table.items() if metric.ci95 is None}
    alike = {
        "distinct_per_grid_top",
        "distinct_per_grid_bottom",
    }  # as they may be of all pictures of an untrained network
    assert without - alike == {
        *(f"{name}_{level}" for name in ("usage", "perplexity") for level in ("top", "bottom"))
    } | {"text_code_retrieval_chance"}
    for name, metric in table.items():
        assert metric.n == 23 and metric.value is not None and metric.protocol, name
        assert metric.ci95 is None or metric.ci95.low <= metric.value <= metric.ci95.high, name


def test_psnr_is_of_the_mean_error_by_hand() -> None:
    table = rebuilding(np.array([0.01, 0.03]), RESAMPLING)
    figures = values(table)
    assert figures["mse"] == pytest.approx(0.02)
    assert figures["psnr_db"] == pytest.approx(10 * np.log10(4 / 0.02))
    assert figures["psnr_db"] - figures["psnr_db_as_published"] == pytest.approx(20 * np.log10(2))
    ends = 10 * np.log10(4 / 0.03), 10 * np.log10(4 / 0.01)  # of two pictures the same one is drawn twice half the time
    assert table["psnr_db"].ci95 == pytest.approx(ends)
    exact = rebuilding(np.zeros(3), RESAMPLING)
    assert exact["mse"].value == 0 and "not finite" in str(exact["psnr_db"].reason)


def test_code_use_by_hand() -> None:
    grids = torch.tensor([[[0, 0], [0, 0]], [[1, 1], [0, 3]]])
    use = values(code_use(grids, 8, RESAMPLING))
    assert use["usage"] == pytest.approx(3 / 8)
    assert use["distinct_per_grid"] == pytest.approx((1 + 3) / 2)
    shares = torch.tensor([5 / 8, 2 / 8, 1 / 8])
    assert use["perplexity"] == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())))


def test_one_code_per_picture_is_a_collapse_though_every_code_is_in_use() -> None:
    grids = torch.arange(8).view(8, 1, 1).expand(8, 4, 4)
    use = values(code_use(grids, 8, RESAMPLING))
    assert use["usage"] == 1.0 and use["distinct_per_grid"] == 1.0
    figures = HEALTHY | {f"{name}_top": value for name, value in use.items()}
    (line,) = collapsed_levels(figures, SIZES)
    assert "1.0 distinct codes in its top grid of 64" in line and "raise vqvae.coarse_weight" in line


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, None),
        ({"usage_bottom": 0.2}, "bottom level uses only 20 % of its 128 codes: lower vqvae.codebook_size"),
        ({"mse_other_top": 0.0105}, "top level carries next to nothing; raise vqvae.coarse_weight"),
        ({"mse_other_bottom": 0.0105}, "bottom level carries next to nothing; lower vqvae.coarse_weight"),
    ],
)
def test_each_sign_is_told_with_its_remedy(changed: dict[str, float], message: str | None) -> None:
    lines = collapsed_levels(HEALTHY | changed, SIZES)
    assert (lines == []) if message is None else (len(lines) == 1 and message in lines[0])


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_the_remedy_for_unused_codes_is_not_what_is_in_use(quantizer: str) -> None:
    (line,) = collapsed_levels(HEALTHY | {"usage_top": 0.1}, replace(SIZES, quantizer=quantizer))
    advice = line.partition(" codes: ")[2]
    assert advice.startswith("lower vqvae.codebook_size") and "\n" not in advice
    assert quantizer not in advice.replace(",", "").split()
    restarting = quantizer in ("ema_restart", "cosine", "rotation")
    assert ("set vqvae.quantizer to ema_restart" in advice) == (quantizer in ("ema", "fsq"))
    assert ("started anew already" in advice) == restarting
    assert ("entropy_weight" in advice) == (quantizer == "lfq")


def test_retrieval_by_hand() -> None:
    pictures = torch.eye(40)
    found = values(
        retrieval(pictures.roll(1, dims=0), pictures, RESAMPLING)
    )  # every caption is another picture's, and 38 more are as far
    assert found["text_code_retrieval_chance"] == 0.25
    assert found["text_code_retrieval_r10"] == pytest.approx(9 / 39)
    assert retrieval(pictures, pictures, RESAMPLING)["text_code_retrieval_r10"].value == 1.0


def test_codes_that_are_all_the_same_find_no_better_than_chance() -> None:
    same = torch.ones(40, 3)
    found = values(retrieval(same, same, RESAMPLING))
    assert found["text_code_retrieval_r10"] == pytest.approx(found["text_code_retrieval_chance"])


def test_retrieval_among_many_takes_little_memory() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(10_000, 4, generator=generator)  # all similarities are 400 MB
    captions = pictures + torch.randn(10_000, 4, generator=generator) / 20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        found = values(retrieval(captions, pictures, RESAMPLING))
    assert max(event.cpu_memory_usage for event in profile.events()) < 100 << 20
    nearer = [int((captions[row] @ pictures.T > captions[row] @ pictures[row]).sum()) for row in range(10_000)]
    assert found["text_code_retrieval_r10"] == pytest.approx(np.mean(np.array(nearer) < 10), abs=1e-3)
