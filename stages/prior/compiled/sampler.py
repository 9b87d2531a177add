"""Pictures shared out among the cores; each core draws its own from start to end, a row of the grids at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from stages.config.samples import SamplingOptions
from stages.prior.compiled.drawing import draw_row
from stages.prior.compiled.packing import bytes_of_position, pack
from stages.prior.compiled.rule import rule_of
from stages.prior.compiled.state import start_state
from stages.prior.drawing import Drawn
from stages.prior.pixelsnail import Conditioning, PixelSNAIL

CACHE_BYTES = 8 * 2**20
"""A core's share of the processor's last cache, roughly."""


class CompiledSampler:
    """Draws from a network on the processor whose weights do not change any more.

    Args:
        network: in eval mode, float32.
    """

    def __init__(self, network: PixelSNAIL) -> None:
        self.network = network
        self.weights = pack(network)

    @torch.inference_mode()
    def sample(
        self, conditioning: Conditioning, noise: Tensor, options: SamplingOptions, known: Tensor, error: float
    ) -> Drawn:
        """As `sample_by_cached_forward`; `Sampler` checks that it fits together, compiled code does not look."""
        side = self.network.sizes.side
        codes, doubts = np.zeros((len(noise), side, side), np.int64), np.zeros((len(noise), side, side), np.bool_)
        given, gumbel = np.ascontiguousarray(known.numpy(), np.int64), np.ascontiguousarray(noise.numpy(), np.float32)
        rule = rule_of(options, error)
        cores = min(len(noise), torch.get_num_threads())
        turns = cores * self._turns(conditioning.batch_size // cores)
        shares = np.array_split(np.arange(len(noise)), min(len(noise), turns))
        stopped = threading.Event()

        @torch.inference_mode()
        def draw_share(rows: np.ndarray) -> None:
            state = start_state(
                self.network, self.weights, conditioning.of_pictures(torch.from_numpy(rows), len(noise))
            )
            mine = slice(rows[0], rows[-1] + 1)
            for row in range(side):
                if not stopped.is_set():
                    draw_row(self.weights, state, rule, gumbel[mine], given[mine], codes[mine], doubts[mine], row)

        with ThreadPoolExecutor(cores) as pool:
            try:
                list(pool.map(draw_share, shares))
            finally:
                stopped.set()  # on Ctrl-C the others end with the row that they are at
        return Drawn(torch.from_numpy(codes), torch.from_numpy(doubts))

    def _turns(self, rows: int) -> int:
        """In how many turns a core draws so many rows.

        What self-attention remembers of a turn's rows should fit its cache. But each turn reads the weights at every
        position, and they should be no more than what is remembered.
        """
        sizes = self.network.sizes
        remembered = 8 * sizes.side**2 * sizes.channels * len(self.weights.self_attention.norm)
        if not remembered:
            return 1
        least = -(-bytes_of_position(self.weights) // remembered)
        return max(1, rows // max(least, CACHE_BYTES // remembered))
