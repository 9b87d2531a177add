"""Captioned pictures, prepared: the data set that every later stage reads."""

from stages.data.pictures import read_picture
from stages.data.prepared import (
    Contrast,
    PreparedSet,
    Record,
    Split,
    load_dataset,
    pictures_at_once,
    to_tensor,
    to_uint8,
)

__all__ = [
    "Contrast",
    "PreparedSet",
    "Record",
    "Split",
    "load_dataset",
    "pictures_at_once",
    "read_picture",
    "to_tensor",
    "to_uint8",
]
