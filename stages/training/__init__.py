"""The one way a LightningModule is fitted: resumable to the bit, with a progress bar, its curves kept."""

from stages.training.batches import Batches, Sweep
from stages.training.callbacks import Best
from stages.training.controls import other_rows
from stages.training.curves import steps_done
from stages.training.fitting import fit
from stages.training.optimisation import adamw_cosine, parameter_count, radam_lookahead
from stages.training.precision import multiplying_in

__all__ = [
    "Batches",
    "Best",
    "Sweep",
    "adamw_cosine",
    "fit",
    "multiplying_in",
    "other_rows",
    "parameter_count",
    "radam_lookahead",
    "steps_done",
]
