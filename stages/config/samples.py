"""Section `samples`: what is painted and how codes are drawn."""

import hashlib
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

LOWEST_TEMPERATURE = 1e-6
"""Above 0: logits divided by less may be too large for a float32."""


@dataclass(frozen=True)
class SamplingOptions:
    """How the codes of one level are drawn from their logits."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest code, as anything below 0.000001 would."""
    top_k: int = 0
    """Only the k likeliest codes; 0 for all."""
    top_p: float = 1.0
    """Only the likeliest codes that together hold this share of the probability (arXiv:1904.09751)."""
    guidance_scale: float = 1.0
    """Classifier-free guidance (arXiv:2207.12598): logits = none + scale (captioned - none); 1 is without."""

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or LOWEST_TEMPERATURE <= self.temperature < math.inf):
            raise ValueError(
                f"samples.sampling.*.temperature must be 0 or at least {LOWEST_TEMPERATURE}, got {self.temperature}"
            )
        if self.top_k < 0:
            raise ValueError(f"samples.sampling.*.top_k must be at least 0, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"samples.sampling.*.top_p must be in (0, 1], got {self.top_p}")
        if not 0 <= self.guidance_scale < math.inf:
            raise ValueError(f"samples.sampling.*.guidance_scale must be at least 0, got {self.guidance_scale}")


@dataclass(frozen=True)
class SamplingConfig:
    """How codes are drawn, wherever pictures are made from captions (`samples`, `evaluation`)."""

    top: SamplingOptions = field(default_factory=lambda: SamplingOptions(top_p=0.95, guidance_scale=2.0))
    """The top level, which settles what is where."""
    bottom: SamplingOptions = field(default_factory=lambda: SamplingOptions(temperature=0.8, top_p=0.95))
    """The bottom level, which paints it."""

    def without_guidance(self) -> "SamplingConfig":
        """The same otherwise."""
        return SamplingConfig(replace(self.top, guidance_scale=1.0), replace(self.bottom, guidance_scale=1.0))


@dataclass(frozen=True)
class SamplesConfig:
    """What is painted."""

    prompt: str = ""
    """One prompt to paint (`make samples PROMPT=...`); empty: `prompts`."""
    prompts: list[str] = field(default_factory=list)
    """Prompts to paint; empty: captions of the test split, drawn at random with `seed`."""
    captions: int = 8
    """How many test captions are painted when there are no prompts."""
    pictures: int = 4
    """Pictures for each prompt."""
    seed: int = 0
    """Seed of the pictures; picture i of a prompt depends on (seed, i) and the prompt."""
    system: Literal["prior", "diffusion"] = "prior"
    """What paints: the prior, or the diffusion baseline, sampled as `diffusion.sampling` says."""
    image: str = ""
    """Picture file to paint into, where `mask` is bright; without a mask the baseline varies the whole of it."""
    mask: str = ""
    """Picture file as large as `image`, bright where it is painted anew. The prior draws codes in raster order, so what
    it paints goes on from what lies above and to its left; it cannot look at what is kept below and to its right. The
    baseline looks at all that is kept."""
    strength: float = 0.6
    """How far a picture without a mask is varied: the share of the noising chain that is undone, in (0,1]."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the prior draws codes, for `evaluation` too. On a GPU each step is a CUDA graph, and the text is adapted
    there too, with another rounding: codes may differ where two are all but level."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How codes are drawn."""

    def fingerprint(self) -> dict[str, Any]:
        """What decides what is painted: of the files that are edited their content, whatever they are called."""
        return asdict(self) | {f"{name}_sha256": digest(getattr(self, name)) for name in ("image", "mask")}

    def __post_init__(self) -> None:
        for name in ("captions", "pictures"):
            if getattr(self, name) < 1:
                raise ValueError(f"samples.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"samples.strength must be in (0, 1], got {self.strength}")
        if self.seed < 0:
            raise ValueError(f"samples.seed must be at least 0, got {self.seed}")


def digest(path: str) -> str:
    """sha256 of a file's content; "" where there is none."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else ""
