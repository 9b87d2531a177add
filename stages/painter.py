"""What everything that paints from captions has in common, whichever room it is in."""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Editing:
    """A picture that is changed rather than painted from nothing."""

    image: Tensor
    """(1,3,H,W) in [-1,1]."""
    repaint: Tensor | None = None
    """(1,1,H,W) bool, True where the picture is painted anew; None: the whole picture is varied."""
    strength: float = 1.0
    """Share of the noising chain that the whole picture is sent up before it is painted again, in (0,1]."""

    def repainted_cells(self, side: int) -> Tensor | None:
        """(1,1,side,side) bool, cells of a grid over the picture that have a pixel to repaint; None without mask."""
        return None if self.repaint is None else F.adaptive_max_pool2d(self.repaint.float(), side) > 0

    def keep_pixels(self, painted: Tensor) -> Tensor:
        """Pictures (B,3,H,W) with the given picture outside the mask, where there is one."""
        return painted if self.repaint is None else torch.where(self.repaint, painted, self.image)


class Painter(Protocol):
    """Prompts in, pictures out."""

    def __call__(
        self, prompts: list[str], *, seed: int = 0, start: int = 0, batch_size: int = 64, editing: Editing | None = None
    ) -> Tensor:
        """One picture for each prompt.

        Args:
            seed: picture i depends on its prompt, `seed` and `start + i`, not on what is painted beside it.
            start: number of the first picture, for painting a long list in parts.
            batch_size: prompts painted at a time.
            editing: a picture that every prompt changes; None: whole pictures from nothing.

        Returns:
            (B,3,H,W) in [-1,1].

        Raises:
            StageError: it cannot edit in that way.
        """
