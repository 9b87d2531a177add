"""The `latents` section of a run's config."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LatentsConfig:
    """Projections of the code space: which points, and how they are laid out."""

    split: str = "test"
    """Split whose codes are shown: train, val, test or, for scenes, compositions."""
    perplexity: float = 30.0
    """Effective number of neighbours of t-SNE (van der Maaten & Hinton 2008); clipped to a third of the points."""
    max_points: int = 1000
    """Most pictures shown; of more, a seeded choice."""
    neighbours: int = 10
    """Neighbours k of trustworthiness and of label agreement; clipped for few points."""
    clusters: int = 6
    """k-means clusters that colour the points where neither a `subject` attribute nor a few groups do."""

    def __post_init__(self) -> None:
        if not self.split:
            raise ValueError("latents.split must be the name of a split, got ''")
        if self.perplexity <= 0:
            raise ValueError(f"latents.perplexity must be positive, got {self.perplexity}")
        if self.max_points < 2:
            raise ValueError(f"latents.max_points must be at least 2, got {self.max_points}")
        if self.neighbours < 1:
            raise ValueError(f"latents.neighbours must be at least 1, got {self.neighbours}")
        if not 1 <= self.clusters <= 16:
            raise ValueError(f"latents.clusters must be in [1, 16], got {self.clusters}")
