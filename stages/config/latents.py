"""The `latents` section of a run's config."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LatentsConfig:
    """Projections of the code space: which points, how they are laid out, and what is drawn of the codes."""

    split: str = "test"
    """Split whose codes are shown: train, val, test or, for scenes, compositions."""
    perplexities: tuple[float, ...] = (30.0, 5.0, 100.0)
    """Effective numbers of neighbours of t-SNE (van der Maaten & Hinton 2008), one layout each; the large plots show
    the first. Clipped to a third of the points."""
    max_points: int = 1000
    """Most pictures shown; of more, a seeded choice. t-SNE takes about 1 s of a core for 500 points, 3 s for 1000, and
    its judging memory with the square of them. Codes are counted over all pictures, mutual information is of these."""
    neighbours: int = 10
    """Neighbours k of trustworthiness, of kNN and label agreement and of retrieval; clipped for few points."""
    clusters: tuple[int, ...] = (4, 6, 8, 10, 12)
    """Numbers of k-means clusters to try; the one of the best silhouette colours the points."""
    thumbnails: int = 2000
    """Most pictures embedded in the interactive page, about 2 KB each; further points go without."""
    heatmap_codes: int = 128
    """Most codes of each level on the co-occurrence map, the most frequent ones; more could not be told apart."""
    sheet_codes: int = 32
    """Codes of each level on the sheet of what single codes paint, the most frequent ones."""

    def __post_init__(self) -> None:
        if not self.split:
            raise ValueError("latents.split must be the name of a split, got ''")
        if not self.perplexities or not all(0 < value < float("inf") for value in self.perplexities):
            raise ValueError(f"latents.perplexities must be one or more positive numbers, got {self.perplexities}")
        if len(set(map(write_perplexity, self.perplexities))) != len(self.perplexities):
            raise ValueError(
                "latents.perplexities must differ in their first three digits, by which their columns are named, got "
                f"{self.perplexities}"
            )
        if not 2 <= self.max_points <= 5000:
            raise ValueError(f"latents.max_points must be in [2, 5000], got {self.max_points}")
        if self.neighbours < 1:
            raise ValueError(f"latents.neighbours must be at least 1, got {self.neighbours}")
        if not self.clusters or not all(2 <= count <= 16 for count in self.clusters):
            raise ValueError(f"latents.clusters must be one or more numbers in [2, 16], got {self.clusters}")
        if not 0 <= self.thumbnails <= 5000:
            raise ValueError(f"latents.thumbnails must be in [0, 5000], got {self.thumbnails}")
        if not 2 <= self.heatmap_codes <= 256:
            raise ValueError(f"latents.heatmap_codes must be in [2, 256], got {self.heatmap_codes}")
        if not 1 <= self.sheet_codes <= 128:
            raise ValueError(f"latents.sheet_codes must be in [1, 128], got {self.sheet_codes}")


def write_perplexity(perplexity: float) -> str:
    """A perplexity as columns and plots name it: three digits."""
    return f"{perplexity:.3g}"
