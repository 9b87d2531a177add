"""Section `codes`: the extraction of codes into LMDB."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CodesConfig:
    """How codes are extracted."""

    batch_size: int = 128
    """Pictures encoded at a time, and records in one write transaction."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"codes.batch_size must be at least 1, got {self.batch_size}")
