"""What is compared, in the order of the table: the two systems, the controls below them, the ceilings above them."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "control", "ceiling"]
COMPOSITIONS = "compositions"
"""The split whose combinations of attribute values no other split shows."""


@dataclass(frozen=True)
class Compared:
    """One column of the table."""

    title: str
    role: Role
    about: str
    """One sentence: what its pictures are, and why it is there."""


COMPARED = {
    "prior": Compared(
        "Prior",
        "system",
        "PixelSNAIL draws codes given the caption and the VQ-VAE paints them: what this run is about.",
    ),
    "diffusion": Compared(
        "Diffusion",
        "system",
        "The baseline that the prior is to beat, of the same data and captions.",
    ),
    "prior_shuffled": Compared(
        "Prior, captions shuffled",
        "control",
        "The prior's own pictures, each scored against the caption of another picture: what they earn by being "
        "pictures of this data set at all, so that anything above it is owed to the caption.",
    ),
    "prior_uncaptioned": Compared(
        "Prior, no caption",
        "control",
        "The prior paints with the same seeds but reads no caption, as for the captions dropped in its training: what "
        "it earns by knowing which pictures are common.",
    ),
    "retrieval": Compared(
        "Nearest caption",
        "control",
        "The train picture whose caption is nearest by the cosine of BLIP's text embeddings, copied: what copying "
        "earns, so that a system worth having has to beat it where train has no picture to copy.",
    ),
    "random_train": Compared(
        "Random train picture",
        "control",
        "A train picture drawn at random for each prompt, copied: what any real picture earns, whatever the caption "
        "says.",
    ),
    "mean_picture": Compared(
        "Mean train picture",
        "control",
        "The mean of all train pictures, the same for every prompt: what a blur earns, which no metric should praise.",
    ),
    "reconstruction": Compared(
        "Reconstruction",
        "ceiling",
        "The prompt's own picture, encoded and decoded by the VQ-VAE: the most that can be painted from its codes.",
    ),
    "real": Compared(
        "Real",
        "ceiling",
        "The prompt's own picture as it is: the most that judge and captioner can be expected to say of any picture.",
    ),
}
ROLES: dict[Role, str] = {"system": "Systems", "control": "Controls (floors)", "ceiling": "Ceilings"}
"""What the columns of a role are called together."""


def named(role: Role) -> list[str]:
    """The systems of a role, in order."""
    return [name for name, compared in COMPARED.items() if compared.role == role]
