"""In what precision networks may be trained and used; a section of the config that has the choice names it so."""

from typing import Literal

Precision = Literal["float32", "bfloat16"]
