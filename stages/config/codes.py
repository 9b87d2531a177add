"""Section `codes`: the extraction of codes into LMDB."""

from dataclasses import dataclass
from typing import Any

STORE_FORMAT = "blip-vq-snail codes 3"
"""Layout of the store; a store of another one is stale."""


@dataclass(frozen=True)
class CodesConfig:
    """How codes are extracted."""

    batch_size: int = 128
    """Pictures encoded at a time."""
    shifted_views: int = 0
    """How often each train picture is encoded again, moved a little: codes of a picture moved by a pixel are other
    codes, so that prior and baseline learn a small set by heart later."""
    shift: int = 4
    """Farthest a view is moved, pixels, to each side; its border is repeated into the gap."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("shifted_views", 0), ("shift", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"codes.{name} must be at least {least}, got {getattr(self, name)}")

    def fingerprint(self) -> dict[str, Any]:
        """What decides the store."""
        settings = {"batch_size": self.batch_size, "shifted_views": self.shifted_views, "shift": self.shift}
        return settings | {"format": STORE_FORMAT}
