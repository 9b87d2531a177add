"""Prompts in, pictures out: `load_text_to_image(workspace)(prompts, seed=0)`."""

from stages.samples.text_to_image import TextToImage, find_device, load_text_to_image

__all__ = ["TextToImage", "find_device", "load_text_to_image"]
