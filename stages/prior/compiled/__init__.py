"""The cached sampler for processors. It computes what `cached.py` computes, in code that numba compiles.

A position's work is many products of a few rows with small matrices, and at that size the call of an operator costs
more than its product: compiled together they take a tenth of the time.
"""

from stages.prior.compiled.sampler import CompiledSampler

__all__ = ["CompiledSampler"]
