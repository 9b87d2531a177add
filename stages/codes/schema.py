"""What the rows of a store are: one fixed-size structured row per pair, described by a schema record."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

FORMAT = "blip-vq-snail codes 2"


@dataclass(frozen=True)
class Schema:
    """What the rows of a store are; written last, so that a store without it is known to be unfinished."""

    top_side: int
    bottom_side: int
    text_codes: int
    codebook_size: int
    vqvae: str
    """sha256 of the manifest of the VQ-VAE that made the codes."""
    blip: str
    """sha256 of the manifest of the BLIP whose embeddings went into them."""
    counts: dict[str, int] = field(default_factory=dict)
    """Split name -> number of records."""
    format: str = FORMAT

    @property
    def row(self) -> np.dtype[np.void]:
        """A record: `record_row` (the pair's place in the prepared set), `top`, `bottom` and `text` codes, packed."""
        return np.dtype(
            [
                ("record_row", "<u4"),
                ("top", "<u2", (self.top_side, self.top_side)),
                ("bottom", "<u2", (self.bottom_side, self.bottom_side)),
                ("text", "<u2", (self.text_codes,)),
            ]
        )

    def to_json(self) -> bytes:
        """The schema record."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "Schema":
        """Reads a schema record.

        Raises:
            ValueError: it is of another format or has other fields, naming both.
        """
        fields = json.loads(raw)
        found = fields.get("format") if isinstance(fields, dict) else fields
        if found != FORMAT:
            raise ValueError(f"of format {found!r}, this program reads {FORMAT!r}")
        known, given = {f.name for f in dataclasses.fields(cls)}, set(fields)
        if known != given:
            raise ValueError(f"with the fields {', '.join(sorted(given))}, expected {', '.join(sorted(known))}")
        return cls(**fields)


def keys(part: str, split: str, numbers: Iterable[int]) -> Iterator[bytes]:
    """Where LMDB keeps these records; keys of a split are in the order of its records."""
    prefix = f"{part}/{split}/".encode()
    return (b"%s%08d" % (prefix, number) for number in numbers)
