"""The sampler on a GPU, its steps captured as CUDA graphs, against the public loop there.

The grids are those of `sampler` and the published ones. The loop runs as torch has it by default, so that it may round
its convolutions to TF32, which ours does not; one position of each row is run and its time multiplied.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.sampler import GRIDS, Grid, Task
from benchmarks.timing import median_seconds

PUBLISHED = (Grid(32, 0, True, 256), Grid(64, 32, False, 256))
BATCHES = (1, 32)


def cases() -> Iterator[dict[str, Any]]:
    """Each grid and batch: against the steps without a graph, the loop, and one forward of the batch."""
    for grid in GRIDS + PUBLISHED:
        for batch in BATCHES:
            task = Task(grid, batch, "cuda")
            ours = median_seconds(task.sample, repeats=3)
            for against, seconds in _references(task):
                settings = task.settings | {"gpu": torch.cuda.get_device_name(), "against": against}
                yield {"settings": settings, "ours_s": ours, "reference_s": seconds, "ratio": seconds / ours}


def _references(task: Task) -> Iterator[tuple[str, float]]:
    with patch("stages.prior.sampler.captured", lambda action, device: action):
        yield "its steps one by one", median_seconds(task.sample, repeats=1)
    for style, network in (("in the public style", task.public), ("of our own network", task.network)):
        task.loop_seconds(network)  # libraries choose their kernels
        yield f"the loop {style}", task.loop_seconds(network)
        yield f"a forward {style}", median_seconds(partial(task.forward, network), repeats=3)
