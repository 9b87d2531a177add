"""What the plots of codes and pictures hold: the heat map's values, the sheet's tiles, the thumbnails' places."""

import numpy as np
import torch

from stages.data import to_uint8
from stages.latents.counting import CodedSplit, Together, count_codes
from stages.latents.maps import SPAN, clustered_lift
from stages.latents.painting import PER_ROW, Painted, paint_codes, sheet
from stages.latents.style import COLOURS, MARKERS, MOST_LABELS, looks, merge_rare_labels
from stages.latents.thumbnails import APART, CANVAS, SIDE, canvas_places, framed, uncovered
from stages.vqvae import VQVAE, VQVAESizes
from tests.latents.rows import MadeRows

SIZES = VQVAESizes(16, 8, 8, 1, 4, 4, 16, 3, "ema", 0.9)


def test_lift_is_observed_over_expected_and_alike_codes_lie_together() -> None:
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat([0, 1], 8))
    counts = np.where(kind[:, None] == kind[None], 30, 2)  # two families of codes, mixed up
    codes, expected = np.arange(16), np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    lift, rows, columns = clustered_lift(Together(codes, codes, counts, expected, int(counts.sum())))
    assert sorted(rows) == sorted(columns) == list(range(16))
    np.testing.assert_allclose(lift, np.log2((counts + 1) / (expected + 1))[np.ix_(rows, columns)])
    assert (np.diff(kind[rows]) != 0).sum() == (np.diff(kind[columns]) != 0).sum() == 1


def test_what_is_too_rare_is_not_judged_and_what_is_missing_is() -> None:
    counts, codes = np.array([[500, 0, 0], [0, 500, 0], [0, 0, 1]]), np.array([7, 4, 9])
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    lift, rows, columns = clustered_lift(Together(codes, codes, counts, expected, 1001))
    assert set(rows) == set(columns) == {4, 7, 9} and np.isfinite(lift).all() and lift.min() == -SPAN
    assert abs(lift[rows.tolist().index(9), columns.tolist().index(7)]) < 1  # half a one was expected
    none, empty = np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.int64)
    assert clustered_lift(Together(none, none, empty, empty, 0))[0].size == 0


RNG = np.random.default_rng(0)
TOP, BOTTOM, TEXT = RNG.integers(0, 5, (6, 2, 2)), RNG.integers(0, 16, (6, 4, 4)), RNG.integers(0, 16, (6, 3))
TOP[:, 0, 0] = 3  # the most frequent


def painted(level: str, most: int) -> tuple[VQVAE, Painted]:
    torch.manual_seed(0)
    network = VQVAE(SIZES).eval()
    rows = MadeRows(6, 16, lambda numbers: (TOP[numbers], BOTTOM[numbers], TEXT[numbers]))
    split = CodedSplit(rows, np.arange(6))
    return network, paint_codes(network, split, count_codes(split, 16), level, most)


@torch.no_grad()
def test_a_code_alone_is_painted_over_the_other_levels_mean() -> None:
    network, found = painted("top", 4)
    assert found.codes[0] == 3 and len(found.codes) == 4
    mean = network.embed_bottom(torch.from_numpy(BOTTOM)).mean((0, 1, 2))
    top = network.embed_top(torch.full((1, 2, 2), 3)).movedim(-1, 1)
    expected = to_uint8(network.paint(top, mean.view(1, -1, 1, 1).expand(1, -1, 4, 4)))
    np.testing.assert_allclose(found.alone[0].astype(int), expected[0].astype(int), atol=1)
    under = network.embed_bottom(torch.from_numpy(BOTTOM))[torch.from_numpy(TOP.repeat(2, 1).repeat(2, 2) == 3)].mean(0)
    expected = to_uint8(network.paint(top, under.view(1, -1, 1, 1).expand(1, -1, 4, 4)))
    np.testing.assert_allclose(found.usual[0].astype(int), expected[0].astype(int), atol=1)


def test_the_change_is_of_one_position_and_amplified() -> None:
    for level, codes in (("top", TOP), ("bottom", BOTTOM)):
        _, found = painted(level, 16)
        strongest = np.abs(found.change.astype(int) - 128).max((1, 2, 3))
        assert found.gain > 1 and len(found.codes) == len(np.unique(codes))
        assert 60 <= np.median(strongest) <= 128


def test_the_sheet_has_three_rows_a_block() -> None:
    _, found = painted("bottom", 16)
    picture = sheet(found, side=10)
    assert picture.shape == (3 * 12, PER_ROW * 12, 3)
    np.testing.assert_array_equal(picture[:10, 12 * len(found.codes) :], 255)


def test_thumbnails_lie_at_their_points_and_apart() -> None:
    rng = np.random.default_rng(0)
    places = canvas_places(rng.standard_normal((300, 2)))
    assert places.min() == 0 and places.max() == CANVAS - SIDE
    kept = uncovered(places, rng.permutation(300))
    gaps = np.abs(places[kept][:, None] - places[kept][None]).max(2)
    assert (gaps[~np.eye(len(kept), dtype=bool)] >= APART).all() and 50 < len(kept) < 300
    assert uncovered(places[:1].repeat(5, 0), np.arange(5)) == [0]
    np.testing.assert_array_equal(canvas_places(np.array([[0.0, 1.0], [1.0, 0.0]])), [[0, 0], [CANVAS - SIDE] * 2])
    tile = framed(np.full((64, 64, 3), 77, np.uint8), "#ff0000")
    assert tile.shape == (SIDE, SIDE, 3)
    assert tile[0, 0].tolist() == [255, 0, 0] and tile[SIDE // 2, SIDE // 2].tolist() == [77, 77, 77]


def test_every_label_looks_different() -> None:
    drawn = looks([str(number) for number in range(24)])
    assert len({(look.colour, look.marker) for look in drawn}) == 24
    assert len(set(COLOURS)) == 8 and len(set(MARKERS)) == 12


def test_many_labels_share_one_colour_for_the_rare() -> None:
    labels = np.array([f"l{n}" for n in range(30)] + ["l29"] * 5 + ["not applicable"])
    merged, order = merge_rare_labels(labels, [f"l{n}" for n in range(30)])
    assert len(order) == MOST_LABELS and order[-1] == "other"
    assert (merged == "l29").sum() == 6 and set(merged) == {*order, "not applicable"}
