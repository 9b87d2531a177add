"""Memory that is freed while a network is trained is given out again without a page fault, and given back after."""

import resource
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from stages.training.memory import freed_memory_kept, glibc

BLOCK = 48 * 2**20  # bytes, more than glibc ever keeps by itself
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PAGES = BLOCK // resource.getpagesize()


@pytest.fixture(autouse=True, scope="module")
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


def faults_while_kept() -> list[int]:
    with freed_memory_kept():
        return [faults_of_a_new_block() for _ in range(32)]


def faults_afterwards() -> list[int]:
    with freed_memory_kept():
        faults_of_a_new_block()
    return [faults_of_a_new_block() for _ in range(8)]


def resident_before_during_and_after_an_error() -> tuple[int, int, int]:
    before, during = resident_pages(), 0
    with suppress(ValueError), freed_memory_kept():
        faults_of_a_new_block()
        during = resident_pages()
        raise ValueError("in training")
    return before, during, resident_pages()


class Measured(NamedTuple):
    while_kept: list[int]
    """Page faults of each block."""
    afterwards: list[int]
    resident: tuple[int, int, int]
    """Pages before, during and after a block that ends with an error."""


@pytest.fixture(scope="module")
def measured() -> Measured:
    """Each in a fresh process. In this one other tests have left holes as large as a block, in huge pages (numpy's)."""
    with ProcessPoolExecutor(3, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        while_kept, afterwards = pool.submit(faults_while_kept), pool.submit(faults_afterwards)
        resident = pool.submit(resident_before_during_and_after_an_error)
        return Measured(while_kept.result(), afterwards.result(), resident.result())


def test_blocks_of_the_size_of_freed_ones_soon_cost_no_page_fault(measured: Measured) -> None:
    assert sum(measured.while_kept[16:]) < PAGES / 100


def test_otherwise_they_cost_one_for_each_page(measured: Measured) -> None:
    assert sum(measured.afterwards) > 7 * PAGES


def test_what_was_kept_is_given_back_even_after_an_error(measured: Measured) -> None:
    before, during, after = measured.resident
    assert during > before + PAGES / 2
    assert after < before + PAGES / 2
