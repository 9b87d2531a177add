"""Memory that is freed while a network is trained is given out again without a page fault, and given back after."""

import resource
from pathlib import Path

import pytest
import torch

from stages.training.memory import freed_memory_kept, glibc

BLOCK = 48 * 2**20  # bytes, more than glibc ever keeps by itself
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PAGES = BLOCK // resource.getpagesize()


@pytest.fixture(autouse=True)
def _where_faults_tell() -> None:
    if glibc() is None:
        pytest.skip("freed memory is kept with glibc only")
    if HUGE_PAGES.is_file() and "[always]" in HUGE_PAGES.read_text():
        pytest.skip("this system gives out huge pages unasked, so that a block costs hardly a fault")


def faults_of_a_new_block() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(BLOCK, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_blocks_of_the_size_of_freed_ones_soon_cost_no_page_fault() -> None:
    with freed_memory_kept():
        faults = [faults_of_a_new_block() for _ in range(32)]
    assert sum(faults[16:]) < PAGES / 100


def test_otherwise_they_cost_one_for_each_page() -> None:
    with freed_memory_kept():
        faults_of_a_new_block()
    assert sum(faults_of_a_new_block() for _ in range(8)) > 7 * PAGES


def test_what_was_kept_is_given_back_even_after_an_error() -> None:
    before = resident_pages()
    with pytest.raises(ValueError, match="in training"), freed_memory_kept():
        faults_of_a_new_block()
        assert resident_pages() > before + PAGES / 2
        raise ValueError("in training")
    assert resident_pages() < before + PAGES / 2
