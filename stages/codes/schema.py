"""What a store holds: one fixed-size structured row per pair, and a record that describes the rows and their origin."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stages.config.codes import STORE_FORMAT

FORMAT = STORE_FORMAT
DTYPES = {"record_row": "<u4", "top": "<u2", "bottom": "<u2", "text": "<u2"}


@dataclass(frozen=True)
class Schema:
    """What the rows of a store are; written last, so that a store without it is known to be unfinished.

    Raises:
        ValueError: codes of this code book do not fit their dtype, or `chunk` is not positive.
    """

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
    dtypes: dict[str, str] = field(default_factory=lambda: dict(DTYPES))
    """Part of a row -> dtype of its numbers."""
    chunk: int = 1024
    """Records in one LMDB value, so that few look-ups find many; the last one of a split holds the rest."""
    format: str = FORMAT

    def __post_init__(self) -> None:
        if not 1 <= self.codebook_size <= 1 << 16:
            raise ValueError(f"codes are stored as uint16: codebook_size must be 1 to 65536, got {self.codebook_size}")
        if self.chunk < 1:
            raise ValueError(f"chunk must be at least 1 record, got {self.chunk}")

    @property
    def row(self) -> np.dtype[np.void]:
        """A record: `record_row` (the pair's place in the prepared set), `top`, `bottom` and `text` codes, packed."""
        shapes: dict[str, tuple[int, ...]] = {
            "record_row": (),
            "top": (self.top_side, self.top_side),
            "bottom": (self.bottom_side, self.bottom_side),
            "text": (self.text_codes,),
        }
        return np.dtype([(name, dtype, shapes[name]) for name, dtype in self.dtypes.items()])

    def to_json(self) -> bytes:
        """The schema record."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "Schema":
        """Reads a schema record.

        Raises:
            ValueError: it is of another format or has other fields or dtypes, naming both.
        """
        fields = json.loads(raw)
        found = fields.get("format") if isinstance(fields, dict) else fields
        if found != FORMAT:
            raise ValueError(f"of format {found!r}, this program reads {FORMAT!r}")
        known, given = {f.name for f in dataclasses.fields(cls)}, set(fields)
        if known != given:
            raise ValueError(f"with the fields {', '.join(sorted(given))}, expected {', '.join(sorted(known))}")
        if fields["dtypes"] != DTYPES:
            raise ValueError(f"with the dtypes {fields['dtypes']}, this program reads {DTYPES}")
        return cls(**fields)


@dataclass(frozen=True)
class CodeRecords:
    """Some pairs' codes and what they belong to, in the order of the split."""

    record_rows: np.ndarray
    """(b,) places of the pairs in the prepared set, and in BLIP's features."""
    top: np.ndarray
    """(b,h,w) integers in [0,K)."""
    bottom: np.ndarray
    """(b,2h,2w)."""
    text: np.ndarray
    """(b,n)."""
    captions: Sequence[str]
    file_names: Sequence[str]

    def __len__(self) -> int:
        return len(self.record_rows)

    def rows(self, schema: Schema) -> np.ndarray:
        """As rows of a store: structured array (b,) of `Schema.row`.

        Raises:
            ValueError: a code is not in [0,K).
        """
        rows = np.empty(len(self), dtype=schema.row)
        rows["record_row"] = self.record_rows
        for name in ("top", "bottom", "text"):
            codes = getattr(self, name)
            if codes.size and not 0 <= codes.min() <= codes.max() < schema.codebook_size:
                found = f"[{codes.min()},{codes.max()}]"
                raise ValueError(f"{name} codes must be in [0,{schema.codebook_size}), got {found}")
            rows[name] = codes
        return rows

    def about(self) -> list[bytes]:
        """Caption and file name of each record, as JSON."""
        return [
            json.dumps({"caption": caption, "file_name": name}, ensure_ascii=False).encode()
            for caption, name in zip(self.captions, self.file_names, strict=True)
        ]


def key(part: str, split: str, number: int) -> bytes:
    """Where LMDB keeps a chunk of rows (`codes`) or what a record belongs to (`about`); keys are in order."""
    return f"{part}/{split}/{number:08d}".encode()
