"""The `evaluation` section of a run's config."""

from dataclasses import dataclass, field
from typing import Literal

from stages.config.samples import SamplingOptions


@dataclass(frozen=True)
class SweepConfig:
    """Settings of the top level's sampling that are tried on captions of `val`, every pair of the two, and set beside
    each other in the report. Nothing is chosen by it: `samples.sampling.top` is yours to set."""

    prompts: int = 100
    """Captions painted with each pair; 0: no sweep."""
    guidance_scales: list[float] = field(default_factory=lambda: [1.0, 1.5, 2.0, 3.0])
    """Scales of classifier-free guidance; 1 is without."""
    temperatures: list[float] = field(default_factory=lambda: [0.7, 0.85, 1.0])
    """What divides the logits."""
    batch_size: int = 50
    """Pictures drawn at a time."""

    def __post_init__(self) -> None:
        if self.prompts < 0:
            raise ValueError(f"evaluation.sweep.prompts must not be negative, got {self.prompts}")
        if self.batch_size < 1:
            raise ValueError(f"evaluation.sweep.batch_size must be at least 1, got {self.batch_size}")
        for name, option in (("guidance_scales", "guidance_scale"), ("temperatures", "temperature")):
            values = getattr(self, name)
            if not values:
                raise ValueError(f"evaluation.sweep.{name} must name at least one")
            try:
                for value in values:
                    SamplingOptions(**{option: value})
            except ValueError as error:
                raise ValueError(f"evaluation.sweep.{name} must be possible: {error}") from error
            if len({f"{value:g}" for value in values}) < len(values):
                raise ValueError(f"evaluation.sweep.{name} must differ, got {values}")


@dataclass(frozen=True)
class EvaluationConfig:
    """What is scored, on how many prompts, and the budget of the judge of true attributes."""

    split: str = "test"
    """Split whose captions are the prompts; never one that anything was trained on. By `val` the stages chose which
    weights to keep, so that its figures flatter a little."""
    max_prompts: int = 500
    """Prompts drawn by every system, at most, each of another picture; a smaller number takes the first of the same
    order."""
    max_captions: int = 200
    """Pictures of each system that BLIP captions, at most (published: 200)."""
    max_compositions: int = 250
    """Prompts of the split `compositions`, at most, where there is one; 0 leaves it out."""
    batch_size: int = 50
    """Pictures drawn at a time; what is drawn so far is kept when a run is stopped."""
    caption_batch_size: int = 100
    """Pictures captioned, matched or judged at a time; of more than 64 pixels, fewer are compared by LPIPS."""
    seed_offset: int = 10_000
    """Added to the run's seed for drawing, so that these pictures are not those of `samples`."""
    seeds: int = 1
    """Seeds with which prior and diffusion paint every prompt, one after the other from `seed_offset` on; the further
    ones go into a table of means and of the spread between seeds, everything else is of the first."""
    bootstrap_repeats: int = 1000
    """Resamples behind each 95 % interval, at least 100."""
    lpips_backbones: list[Literal["alex", "vgg"]] = field(default_factory=lambda: ["alex", "vgg"])
    """Backbones of LPIPS (arXiv:1801.03924); their ImageNet weights must lie in the torch hub cache."""
    diversity_prompts: int = 25
    """Prompts that every system painting from text paints several times over; 0: no diversity is measured."""
    diversity_pictures: int = 4
    """Pictures of each of them."""
    judge_width: int = 24
    """Channels of the judge's first layer."""
    judge_examples: int = 1500
    """Pictures of all combinations, those of `compositions` too, that `scenes` paints for the judge alone, so that it
    has no blind spot where train has one by design; other sources have none. 0: train pictures only."""
    judge_steps: int = 250
    """Optimiser steps of the judge."""
    judge_batch_size: int = 64
    """Real pictures a step."""
    judge_lr: float = 6e-3
    """Peak learning rate of the judge's AdamW."""
    published_prompts: int = 200
    """Pairs of train that are scored as the publication has it, of whose 200 test pairs 196 show a picture of train;
    for the report's reproduction table alone. 0: none."""
    rivals: list[str] = field(default_factory=list)
    """Other runs whose diffusion baselines, trained on this run's codes, are scored beside its own under "Budgets";
    `make compare-diffusion` fills it."""
    sweep: SweepConfig = field(default_factory=SweepConfig)
    """Guidance and temperature tried against each other."""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"evaluation.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("max_compositions", "seed_offset", "judge_examples", "diversity_prompts", "published_prompts"):
            if getattr(self, name) < 0:
                raise ValueError(f"evaluation.{name} must not be negative, got {getattr(self, name)}")
        if self.diversity_pictures < 2:
            raise ValueError(f"evaluation.diversity_pictures must be at least 2, got {self.diversity_pictures}")
        if self.split == "train":
            raise ValueError("evaluation.split must be held out, got 'train'")
        if self.bootstrap_repeats < 100:
            raise ValueError(
                f"evaluation.bootstrap_repeats must be at least 100 for a 95 % interval, got {self.bootstrap_repeats}"
            )
        if self.judge_lr <= 0:
            raise ValueError(f"evaluation.judge_lr must be positive, got {self.judge_lr}")


_COUNTS = (
    "max_prompts",
    "max_captions",
    "batch_size",
    "caption_batch_size",
    "seeds",
    "judge_width",
    "judge_steps",
    "judge_batch_size",
)
