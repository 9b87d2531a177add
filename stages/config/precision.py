"""In what precision networks may be trained: the key `precision` of the sections `vqvae`, `prior` and `diffusion`."""

from typing import Literal

Precision = Literal["float32", "bfloat16"]
