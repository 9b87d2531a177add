"""Section `codes`: the extraction of codes into LMDB."""

import re
from dataclasses import dataclass
from typing import Any

STORE_FORMAT = "blip-vq-snail codes 3"
"""Layout of the store; a store of another one is stale."""


@dataclass(frozen=True)
class CodesConfig:
    """How codes are extracted."""

    batch_size: int = 128
    """Pictures encoded at a time where they have up to 64 pixels a side; of larger ones fewer, with as many pixels."""
    shifted_views: int = 0
    """How often each train picture is encoded again, moved a little: codes of a picture moved by a pixel are other
    codes, so that prior and baseline learn a small set by heart later."""
    shift: int = 4
    """Farthest a view is moved, pixels, to each side; its border is repeated into the gap."""
    shard: str = ""
    """Such as 2/8: make the second of eight parts only, into `codes-shards/2-of-8.mdb` beside the store's folder, here
    or on another machine that has the same run; empty: everything, in one process."""
    merge: int = 0
    """Make the store of so many shards that are in `codes-shards/`; 0: encode."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("shifted_views", 0), ("shift", 1), ("merge", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"codes.{name} must be at least {least}, got {getattr(self, name)}")
        number, count = self.place
        if self.shard and not 1 <= number <= count:
            raise ValueError(f"codes.shard must be such as 2/8, the second of eight, got {self.shard!r}")
        if self.shard and self.merge:
            raise ValueError(f"codes.shard and codes.merge are two steps, got {self.shard!r} and {self.merge}")

    @property
    def place(self) -> tuple[int, int]:
        """Number and count of the shard that is made; (1, 1) is everything."""
        if not self.shard:
            return 1, 1
        match = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    @property
    def part(self) -> str:
        """What of the stage this process makes, for the name of its lock: shards are made side by side."""
        number, count = self.place
        return f"{number}-of-{count}" if self.shard else ""

    def fingerprint(self) -> dict[str, Any]:
        """What decides the store; who encodes which part of it does not."""
        settings = {"batch_size": self.batch_size, "shifted_views": self.shifted_views, "shift": self.shift}
        return settings | {"format": STORE_FORMAT}
