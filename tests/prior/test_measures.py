"""Bits per code, pair by pair: what is averaged, over what, and given which caption."""

import numpy as np
import pytest
import torch

from stages.config.prior import LevelConfig, PriorConfig
from stages.metrics import Resampling
from stages.prior.measures import bits_by_picture, measure
from stages.prior.module import CodeBatch, PriorModule
from stages.training import Sweep
from tests.prior.networks import Case, K, build, make_captions


@pytest.fixture
def modules() -> dict[str, PriorModule]:
    """A top level of 2 x 2 codes and a bottom level of 4 x 4 above it."""
    cases = {"top": Case(2, 0, True, 3, 1, "tokens"), "bottom": Case(4, 2, True, 3, 1, "tokens")}
    return {level: PriorModule(build(case), LevelConfig(), PriorConfig()).eval() for level, case in cases.items()}


def sweeps(count: int, batch_size: int) -> dict[str, Sweep]:
    """The same pairs of both levels."""
    generator = torch.Generator().manual_seed(0)
    captions = make_captions(count)
    top, bottom = (torch.randint(0, K, (count, side, side), generator=generator) for side in (2, 4))

    def pairs(codes: torch.Tensor, context: torch.Tensor | None, rows: np.ndarray) -> CodeBatch:
        chosen = type(captions)(*(form[rows] for form in captions))
        return CodeBatch(codes[rows], None if context is None else context[rows], chosen)

    return {
        "top": Sweep(lambda rows: pairs(top, None, rows), count, batch_size),
        "bottom": Sweep(lambda rows: pairs(bottom, top, rows), count, batch_size),
    }


def test_bits_are_of_each_pair_in_the_order_of_the_batches(modules: dict[str, PriorModule]) -> None:
    whole = bits_by_picture(modules["bottom"], sweeps(7, 7)["bottom"])
    parts = bits_by_picture(modules["bottom"], sweeps(7, 3)["bottom"])
    assert parts[""] == pytest.approx(whole[""], rel=1e-5) and len(set(whole[""].round(4))) == 7
    assert parts["_uncaptioned"] == pytest.approx(whole["_uncaptioned"], rel=1e-5)
    for told in ("_shuffled", "_uncaptioned"):
        assert (np.abs(whole[told] - whole[""]) > 1e-4).all()
    (batch,) = sweeps(7, 7)["bottom"]
    others = batch._replace(captions=type(batch.captions)(*(form[[6, 0, 1, 2, 3, 4, 5]] for form in batch.captions)))
    with torch.no_grad():
        assert whole["_shuffled"] == pytest.approx(modules["bottom"].bits_per_code(others).numpy(), rel=1e-5)


def test_no_picture_is_given_another_caption_of_its_own() -> None:
    batch = CodeBatch(torch.tensor([7, 7, 8, 9])[:, None, None], None, make_captions(4))
    batch = batch._replace(captions=batch.captions.take(torch.tensor([0, 1, 2, 2])))  # two pictures share a caption
    given = batch.with_others_captions().captions.pooled
    assert torch.equal(given, batch.captions.pooled[[3, 3, 1, 1]])


def test_no_pair_is_shuffled_with_its_own_caption(modules: dict[str, PriorModule]) -> None:
    bits = bits_by_picture(modules["bottom"], sweeps(7, 3)["bottom"])  # 3, 3 and 1, were the last alone
    assert (np.abs(bits["_shuffled"] - bits[""]) > 1e-4).all()


def test_levels_count_by_their_codes(modules: dict[str, PriorModule]) -> None:
    table = measure(modules, sweeps(9, 4), "val", Resampling(100, 0))
    assert len(table) == 9 and {metric.n for metric in table.values()} == {9}
    assert all(metric.ci95 is not None for metric in table.values())
    for told in ("", "_shuffled", "_uncaptioned"):
        both, top, bottom = (table[f"val_nll_bits_per_code{level}{told}"].value for level in ("", "_top", "_bottom"))
        assert top is not None and bottom is not None
        assert both == pytest.approx((4 * top + 16 * bottom) / 20)
