"""Seeds of single pictures, so that picture i is the same whatever is drawn beside it."""

import numpy as np
import torch


def picture_seeds(seed: int, count: int, start: int = 0) -> list[int]:
    """Independent seeds in [0, 2^62) of pictures start .. start+count-1 of a run of pictures with that seed."""
    return [
        int(np.random.SeedSequence((seed, i)).generate_state(1, np.uint64)[0] >> 2) for i in range(start, start + count)
    ]


def drawn_seeds(generator: torch.Generator, count: int) -> list[int]:
    """As many seeds in [0, 2^62) drawn from a generator, which goes on by that many numbers."""
    drawn: list[int] = torch.randint(1 << 62, (count,), generator=generator, device=generator.device).tolist()
    return drawn
