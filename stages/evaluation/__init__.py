"""How well pictures match their captions: a judge of true attributes, the systems compared, every figure measured."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.evaluation.judge import Judge

__all__ = ["load_judge"]


def load_judge(directory: Path) -> "Judge":
    """The judge that the stage published in `directory`, on the CPU, in eval mode without gradients.

    Raises:
        StageError: there is none, as for a data set without true attributes.
    """
    from stages.evaluation import judge

    return judge.load_judge(directory)
