"""The stages in the order of the data: what each reads, what it makes, and where its `run` is."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One room: its name is the make target, the verb, the folder, the config section and the artefact's folder."""

    name: str
    inputs: tuple[str, ...]
    """Stages whose artefacts it reads."""
    summary: str
    settings: tuple[str, ...] = ()
    """Parts of other stages' sections that it reads as well, dotted."""
    chosen_by: str = ""
    """A setting, dotted, whose value is the name of one more stage whose artefact it reads."""
    rivals: str = ""
    """A setting, dotted, that lists other runs whose `diffusion` artefacts it reads as well."""

    def inputs_of(self, config: Any) -> tuple[str, ...]:
        """Stages whose artefacts it reads in a run with this `RunConfig`."""
        return (*self.inputs, attrgetter(self.chosen_by)(config)) if self.chosen_by else self.inputs

    def rivals_of(self, config: Any) -> list[str]:
        """Runs besides its own whose `diffusion` it reads in a run with this `RunConfig`."""
        return list(attrgetter(self.rivals)(config)) if self.rivals else []

    def load_run(self) -> Callable[..., None]:
        """`run(config, workspace)` of the room; imported here because it pulls in torch."""
        run: Callable[..., None] = importlib.import_module(f"stages.{self.name}.stage").run
        return run

    def load_source_digest(self) -> Callable[[Any], str | None] | None:
        """The room's function that digests inputs from outside the run (`data` alone has one)."""
        if self.inputs:
            return None
        digest: Callable[[Any], str | None] = importlib.import_module(f"stages.{self.name}.source").digest
        return digest


STAGES = {
    stage.name: stage
    for stage in (
        Stage("data", (), "read and check the captioned pictures, split them by picture"),
        Stage("blip", ("data",), "fine-tune BLIP (contrast, matching, captioning) and extract features"),
        Stage("vqvae", ("data", "blip"), "train the two-level VQ-VAE on pictures and joint embeddings"),
        Stage("codes", ("data", "blip", "vqvae"), "write every picture's and caption's codes into LMDB"),
        Stage("prior", ("blip", "codes"), "train PixelSNAIL on the codes, given the text"),
        Stage(
            "diffusion",
            ("data", "blip", "vqvae", "codes"),
            "train the diffusion baseline on the same data and text features",
        ),
        Stage(
            "samples",
            ("data", "blip", "vqvae"),
            'paint prompts: PROMPT="a red ship on a stormy sea at dusk"',
            settings=("diffusion.sampling", "data.pictures"),
            chosen_by="samples.system",
        ),
        Stage(
            "evaluation",
            ("data", "blip", "vqvae", "codes", "prior", "diffusion"),
            "score samples, baseline and controls on held-out captions",
            settings=("samples.sampling", "samples.device", "diffusion.sampling"),
            rivals="evaluation.rivals",
        ),
        Stage("latents", ("data", "vqvae", "codes"), "PCA and t-SNE of the test codes"),
        Stage(
            "report",
            ("data", "blip", "vqvae", "codes", "prior", "diffusion", "evaluation", "latents"),
            "one self-contained page with every figure and its protocol",
        ),
    )
}
