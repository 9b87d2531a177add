"""The default data set: small oil-painting-like pictures drawn by the program, with titles and true attributes."""

from stages.data.scenes.attributes import HELD_OUT, SCENES, attribute_values, is_held_out
from stages.data.scenes.painter import paint_picture
from stages.data.scenes.source import ScenesSource, paint_examples
from stages.data.scenes.titles import compose_title, read_title

__all__ = [
    "HELD_OUT",
    "SCENES",
    "ScenesSource",
    "attribute_values",
    "compose_title",
    "is_held_out",
    "paint_examples",
    "paint_picture",
    "read_title",
]
