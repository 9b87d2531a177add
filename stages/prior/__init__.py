"""PixelSNAIL over codes, given text: `load_prior(directory).sample(...)` draws codes."""

from stages.prior.prior import Prior, load_prior, save_prior

__all__ = ["Prior", "load_prior", "save_prior"]
