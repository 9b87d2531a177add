"""The `report` section of a run's config."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportConfig:
    """How much the page shows."""

    prompts: int = 12
    """Prompts in the grid of pictures, evenly spaced over those that were evaluated (none chosen by hand)."""
    examples: int = 8
    """Pictures with captions in the data card."""
    picture_size: int = 256
    """Longest side of an embedded picture, pixels; larger ones are shrunk."""
    max_megabytes: float = 15.0
    """Most the page may weigh, MB (10^6 bytes); the grid is shortened to keep to it."""

    def __post_init__(self) -> None:
        for name in ("prompts", "examples"):
            if getattr(self, name) < 0:
                raise ValueError(f"report.{name} must not be negative, got {getattr(self, name)}")
        if self.picture_size < 16:
            raise ValueError(f"report.picture_size must be at least 16 pixels, got {self.picture_size}")
        if self.max_megabytes <= 0:
            raise ValueError(f"report.max_megabytes must be positive, got {self.max_megabytes}")
