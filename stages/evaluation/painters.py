"""What paints: the prior, with and without captions, and the baseline. All that this room needs of theirs is here."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from stages.data import to_uint8
from stages.errors import StageError
from stages.evaluation.drawing import Draw
from stages.evaluation.prompts import Prompts
from stages.painter import Painter
from stages.workspace import Workspace

if TYPE_CHECKING:
    from stages.samples import TextToImage


def paint_with_prior(workspace: Workspace, prompts: Prompts, seed: int) -> Draw:
    """The prior as the run's config has it sample."""
    return _painted(_load_prior(workspace), prompts, seed)


def paint_without_captions(workspace: Workspace, seed: int) -> Draw:
    """The prior with the same seeds and sampling but no caption, and so without guidance.

    Raises:
        StageError: it has never been trained without a caption, or a stage that it needs is not there.
    """
    if workspace.config.prior.caption_dropout == 0:
        raise StageError("prior.caption_dropout is 0, so the prior never learned to paint without a caption")
    prior = _load_prior(workspace)
    painter = prior.with_sampling(prior.sampling.without_guidance())
    return lambda first, last: to_uint8(painter([None] * (last - first), seed=seed, start=first))


def paint_with_diffusion(workspace: Workspace, prompts: Prompts, seed: int) -> Draw:
    """The baseline."""
    workspace.require("diffusion")
    from stages.diffusion import load_diffusion

    return _painted(load_diffusion(workspace), prompts, seed)


def paint_with_rival(workspace: Workspace, run: str, prompts: Prompts, seed: int) -> Draw:
    """The baseline of another run, as this run's config has it denoise.

    Raises:
        StageError: it is not there, or was trained on other codes or text features than this run's.
    """
    from stages.diffusion import load_rival

    return _painted(load_rival(workspace, run), prompts, seed)


def require_what_is_named(workspace: Workspace) -> None:
    """Nothing, where every one of `evaluation.rivals` and `samples.device` is there; otherwise a StageError.

    Stages that have not been run are missed later, system by system.
    """
    from stages.samples import find_device

    find_device(workspace.config.samples.device)
    if workspace.config.evaluation.rivals:
        from stages.diffusion import require_rival

        for run in workspace.config.evaluation.rivals:
            require_rival(workspace, run)


def prior_at(workspace: Workspace, prompts: Prompts, seed: int) -> Callable[[float, float], Draw]:
    """The prior for a guidance scale and a temperature of the top level, in place of the config's.

    Raises:
        StageError: a stage that it needs is not there.
    """
    painter = _load_prior(workspace)

    def at(guidance_scale: float, temperature: float) -> Draw:
        top = replace(painter.sampling.top, guidance_scale=guidance_scale, temperature=temperature)
        return _painted(painter.with_sampling(replace(painter.sampling, top=top)), prompts, seed)

    return at


def _painted(painter: Painter, prompts: Prompts, seed: int) -> Draw:
    texts = prompts.texts
    return lambda first, last: to_uint8(painter(texts[first:last], seed=seed, start=first))


def _load_prior(workspace: Workspace) -> "TextToImage":
    from stages.samples import load_text_to_image

    workspace.require("prior")
    return load_text_to_image(workspace)
