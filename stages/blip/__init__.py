"""BLIP: knows which caption belongs to which picture, embeds both, captions pictures."""

from stages.blip.blip import Blip, TextFeatures, load_blip
from stages.blip.features import Features, load_features
from stages.blip.table import published_table

__all__ = ["Blip", "Features", "TextFeatures", "load_blip", "load_features", "published_table"]
