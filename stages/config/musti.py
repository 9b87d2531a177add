"""The config section `data.musti`: image-text pairs of the MUSTI task (MediaEval), pictures fetched by url."""

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "de", "fr", "it"]
CaptionField = Literal["title", "text", "both"]
Labels = Literal["related", "not-unrelated", "all"]
_DECODED_AT_MOST = 89_000_000  # pixels above which Pillow itself warns of a bomb


@dataclass(frozen=True)
class MustiConfig:
    """The JSON files that the task's organisers hand out, what of them is used, and how the pictures are fetched."""

    train: str = ""
    """JSON file of the task's training pairs: `{"pairs": [...]}` or a bare list."""
    test: str = ""
    """JSON file of the task's test pairs; may be left out."""
    languages: tuple[Language, ...] = ("en", "de", "fr", "it")
    """Languages whose pairs are used: en, de, fr, it, one or several."""
    caption: CaptionField = "title"
    """Caption of a picture: its title, the passage of text paired with it, or both as "title. text"."""
    labels: Labels = "related"
    """Whose `text` may be a caption: pairs labelled YES, those not labelled NO (test files have no labels), or all.
    Titles belong to their picture whatever the label says."""
    cache: str = "data/musti-pictures"
    """Folder of the fetched pictures, kept between runs; one for any number of prepared sets."""
    max_missing: float = 1.0
    """Largest share of the pictures (0 to 1) that may be missing; above it the stage stops. 1: never."""
    connections: int = 16
    """Pictures fetched at a time."""
    connections_per_host: int = 4
    """Pictures fetched at a time from one host."""
    timeout_s: float = 20.0
    """Longest wait for a connection, and for the next bytes of an answer, seconds."""
    deadline_s: float = 60.0
    """Longest time that one file may take, all its attempts together and waiting for a turn not counted, seconds."""
    retries: int = 3
    """Further attempts after a failure that may pass: a time-out, a cut answer, HTTP 429 or 5xx."""
    backoff_s: float = 1.0
    """Wait before the second attempt, seconds; it doubles with every further one and varies by half."""
    max_wait_s: float = 120.0
    """Longest wait that a host may ask for by `Retry-After`, seconds; one that asks for more is given up."""
    max_bytes: int = 32 * 2**20
    """Largest file, bytes."""
    max_pixels: int = 64_000_000
    """Largest picture, pixels (width x height)."""
    allow_private_addresses: bool = False
    """Whether pictures may come from loopback, private and link-local addresses; for tests and mirrors at home."""

    def __post_init__(self) -> None:
        if not self.languages:
            raise ValueError("data.musti.languages is empty: name one or several of en, de, fr, it")
        if len(set(self.languages)) != len(self.languages):
            raise ValueError(f"data.musti.languages names a language twice, got {list(self.languages)}")
        if not self.cache:
            raise ValueError("data.musti.cache must name a folder for the fetched pictures, got ''")
        if not 0.0 <= self.max_missing <= 1.0:
            raise ValueError(f"data.musti.max_missing must be from 0 to 1, got {self.max_missing}")
        for name, least in (("connections", 1), ("connections_per_host", 1), ("retries", 0), ("max_bytes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"data.musti.{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("timeout_s", "deadline_s", "backoff_s", "max_wait_s"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"data.musti.{name} must be above 0 and finite, got {getattr(self, name)}")
        if not 1 <= self.max_pixels <= _DECODED_AT_MOST:
            raise ValueError(f"data.musti.max_pixels must be from 1 to {_DECODED_AT_MOST}, got {self.max_pixels}")
