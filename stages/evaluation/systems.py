"""The systems that are compared, each as something that draws the pictures of prompts."""

from collections.abc import Callable
from dataclasses import dataclass

from stages.data import PreparedSet
from stages.evaluation.ceilings import reconstruct, show_real
from stages.evaluation.drawing import Draw
from stages.evaluation.painters import paint_with_diffusion, paint_with_prior, paint_without_captions
from stages.evaluation.prompts import Prompts
from stages.evaluation.train_pictures import copy_at_random, copy_nearest, show_mean
from stages.workspace import Workspace

_COPIED = "its pictures are the data set's own, which no system draws"


@dataclass(frozen=True)
class System:
    """Something that has a picture for every prompt."""

    name: str
    open: Callable[[Prompts], Draw]
    """Loads what it needs. Raises StageError when a stage that it needs is not there."""
    not_drawn: str = ""
    """Why no time can be given for drawing a picture; empty where it can."""


def systems_of(workspace: Workspace, dataset: PreparedSet, seed: int) -> list[System]:
    """The systems of a run; `prior_shuffled` draws nothing and is not among them.

    Args:
        seed: of the drawing.
    """
    return [
        *painting_systems(workspace, seed),
        System("prior_uncaptioned", lambda _: paint_without_captions(workspace, seed)),
        System("retrieval", lambda prompts: copy_nearest(workspace, dataset, prompts), _COPIED),
        System("random_train", lambda prompts: copy_at_random(dataset, prompts, seed), _COPIED),
        System("mean_picture", lambda _: show_mean(dataset), "one picture is computed for all prompts"),
        System("reconstruction", lambda prompts: reconstruct(workspace, dataset, prompts)),
        System("real", lambda prompts: show_real(dataset, prompts), _COPIED),
    ]


def painting_systems(workspace: Workspace, seed: int) -> list[System]:
    """Those that paint from a caption and chance, so that another seed gives other pictures."""
    return [
        System("prior", lambda prompts: paint_with_prior(workspace, prompts, seed)),
        System("diffusion", lambda prompts: paint_with_diffusion(workspace, prompts, seed)),
    ]
