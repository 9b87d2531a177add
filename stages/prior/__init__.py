"""PixelSNAIL over codes, given text: `load_prior(directory).sample(...)` draws codes."""

from stages.prior.captions import Captions
from stages.prior.drawing import UNKNOWN
from stages.prior.prior import Prior, load_prior, save_prior

__all__ = ["UNKNOWN", "Captions", "Prior", "load_prior", "save_prior"]
