"""A checkpoint in the layout of Stable Diffusion as the baseline, tuned on the data set (`diffusion.pretrained`)."""

from stages.diffusion.pretrained.text_to_image import TunedTextToImage, load_tuned

__all__ = ["TunedTextToImage", "load_tuned"]
