"""The diffusion baseline: `load_diffusion(workspace)(prompts, seed=0)` paints like `samples` does."""

from stages.diffusion.text_to_image import DiffusionTextToImage, load_diffusion, load_rival, require_rival

__all__ = ["DiffusionTextToImage", "load_diffusion", "load_rival", "require_rival"]
