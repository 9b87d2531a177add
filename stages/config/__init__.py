"""The typed config of a run: one YAML, one section per stage."""

from dataclasses import dataclass, field

from stages.config.blip import BlipConfig
from stages.config.codes import CodesConfig
from stages.config.data import DataConfig
from stages.config.diffusion import DiffusionConfig
from stages.config.evaluation import EvaluationConfig
from stages.config.latents import LatentsConfig
from stages.config.prior import PriorConfig
from stages.config.report import ReportConfig
from stages.config.samples import SamplesConfig
from stages.config.vqvae import VqvaeConfig


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run makes. Sections are named after the stages that read them."""

    run: str = ""
    """Name of the run and of its folder under `checkpoints`; empty: the config file's name without `.yaml`."""
    seed: int = 0
    """Seed of every stage but `samples`, which has its own: pictures that are drawn, splits, initial weights, order of
    the data, noise. Another seed makes another data set: give it another `data.name`."""
    checkpoints: str = "checkpoints"
    """Folder that holds one folder per run."""
    datasets: str = "data"
    """Folder that holds one folder per prepared data set."""
    data: DataConfig = field(default_factory=DataConfig)
    blip: BlipConfig = field(default_factory=BlipConfig)
    vqvae: VqvaeConfig = field(default_factory=VqvaeConfig)
    codes: CodesConfig = field(default_factory=CodesConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    samples: SamplesConfig = field(default_factory=SamplesConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    latents: LatentsConfig = field(default_factory=LatentsConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def __post_init__(self) -> None:
        if self.run in {".", ".."} or "/" in self.run or "\\" in self.run:
            raise ValueError(f"run must be the name of a folder, not a path, got {self.run!r}")
        sampling = self.samples.sampling
        if self.prior.caption_dropout == 0 and sampling != sampling.without_guidance():
            raise ValueError(
                "prior.caption_dropout is 0, so the prior will not learn to paint without a caption, which guidance "
                "needs: set samples.sampling.top.guidance_scale and samples.sampling.bottom.guidance_scale to 1"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in [0, 2^63), got {self.seed}")
