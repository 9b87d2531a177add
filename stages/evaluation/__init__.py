"""How well pictures match their captions: metrics with protocol, a judge of true attributes, the systems compared.

Imports nothing heavy, because the config of a run imports this room's section.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.evaluation.result import Metric

if TYPE_CHECKING:
    from stages.evaluation.judge import Judge

__all__ = ["Metric", "load_judge"]


def load_judge(directory: Path) -> "Judge":
    """The judge that the stage published in `directory`, on the CPU, in eval mode without gradients.

    Raises:
        StageError: there is none, as for a data set without true attributes.
    """
    from stages.evaluation import judge

    return judge.load_judge(directory)
