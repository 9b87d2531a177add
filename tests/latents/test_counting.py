"""Codes are counted right, in memory that grows neither with the pairs nor with the square of the code book."""

import time
import tracemalloc

import numpy as np
import pytest

from stages.latents import counting
from stages.latents.counting import CodedSplit, count_codes, count_together, frequent_together, most_frequent
from stages.latents.measures import code_pairs
from tests.latents.rows import MadeRows

RNG = np.random.default_rng(0)
TOP, BOTTOM, TEXT = RNG.integers(0, 6, (50, 2, 2)), RNG.integers(0, 9, (50, 4, 4)), RNG.integers(0, 16, (50, 3))


def split(rows: MadeRows) -> CodedSplit:
    """Every pair is of a picture of its own."""
    return CodedSplit(rows, np.arange(len(rows)))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> MadeRows:
    """Fifty pairs, read seven at a time."""
    monkeypatch.setattr(counting, "POSITIONS_AT_ONCE", 7 * 16)
    return MadeRows(50, 16, lambda numbers: (TOP[numbers], BOTTOM[numbers], TEXT[numbers]))


def test_counts_are_those_of_all_records(rows: MadeRows) -> None:
    assert [len(batch) for batch in counting.batches(rows, np.arange(50))] == 7 * [7] + [1]
    counts = count_codes(split(rows), 16)
    for level, codes in (("top", TOP), ("bottom", BOTTOM), ("caption", TEXT)):
        assert counts[level].tolist() == [int((codes == code).sum()) for code in range(16)]


def test_codes_together_are_those_of_the_whole_table(rows: MadeRows) -> None:
    table = np.zeros((16, 16), dtype=np.int64)
    np.add.at(table, code_pairs(TOP, BOTTOM), 1)
    every = np.arange(16)
    np.testing.assert_array_equal(count_together(split(rows), every, every, 16), table)
    some, others = np.array([4, 0, 15]), np.array([8, 2])
    np.testing.assert_array_equal(count_together(split(rows), some, others, 16), table[np.ix_(some, others)])


def test_the_most_frequent_are_compared_with_what_is_expected_of_all(rows: MadeRows) -> None:
    counts = count_codes(split(rows), 16)
    together = frequent_together(split(rows), counts, 4)
    table = count_together(split(rows), np.arange(16), np.arange(16), 16)
    assert together.top.tolist() == np.argsort(-table.sum(1), kind="stable")[:4].tolist()
    np.testing.assert_array_equal(together.counts, table[np.ix_(together.top, together.bottom)])
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    np.testing.assert_allclose(together.expected, expected[np.ix_(together.top, together.bottom)])
    assert together.positions == table.sum() == 50 * 16
    assert len(frequent_together(split(rows), counts, 16).bottom) == 9  # those that occur
    assert most_frequent(np.array([3, 0, 5, 3]), 9).tolist() == [2, 0, 3]


def test_a_picture_with_several_captions_counts_once_and_each_caption_too(rows: MadeRows) -> None:
    firsts = np.array([0, 3, 30])
    counts = count_codes(CodedSplit(rows, firsts), 16)
    alone = count_codes(split(MadeRows(3, 16, lambda n: (TOP[firsts[n]], BOTTOM[firsts[n]], TEXT[firsts[n]]))), 16)
    for level in ("top", "bottom"):
        np.testing.assert_array_equal(counts[level], alone[level])
    np.testing.assert_array_equal(counts["caption"], count_codes(split(rows), 16)["caption"])
    together = frequent_together(CodedSplit(rows, firsts), counts, 16)
    assert together.positions == together.counts.sum() == 3 * 16


def many(count: int) -> MadeRows:
    """Pairs of pictures of 64 pixels, with codes of a book of 65,536, some more frequent than others."""

    def make(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        flat = (numbers[:, None] * 7919 + np.arange(64 + 256 + 8) * 104729) % 65536
        flat = flat * flat >> 16  # small ones are more frequent
        return flat[:, :64].reshape(-1, 8, 8), flat[:, 64:320].reshape(-1, 16, 16), flat[:, 320:]

    return MadeRows(count, 65536, make)


def peak_and_seconds(count: int) -> tuple[float, float]:
    """MiB and seconds that counting takes."""
    rows, started = many(count), time.perf_counter()
    tracemalloc.start()
    counts = count_codes(split(rows), 65536)
    together = frequent_together(split(rows), counts, 128)
    company = count_together(split(rows), most_frequent(counts["top"], 32), np.arange(65536), 65536)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert together.counts.shape == (128, 128) and company.sum() == 4 * np.sort(counts["top"])[-32:].sum()
    return peak, time.perf_counter() - started


def test_a_large_code_book_and_many_pairs_take_little_memory() -> None:
    few, _ = peak_and_seconds(10_000)
    much, seconds = peak_and_seconds(100_000)  # the codes of 26 million positions, two bytes each, are 50 MiB
    assert much < few + 8 and much < 100, (few, much)  # all codes by all codes would be 32 GiB
    assert seconds < 60
