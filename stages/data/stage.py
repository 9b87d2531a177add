"""The stage `data`: a source's pictures and captions, checked, split and prepared for every later stage."""

import logging

from stages.config import RunConfig
from stages.data.card import CARD, write_card
from stages.data.prepared import PreparedWriter, load_dataset, split_counts
from stages.data.source import open_source
from stages.workspace import Workspace

logger = logging.getLogger("stages.data")


def run(config: RunConfig, workspace: Workspace) -> None:
    """Writes the prepared set of the run and its data card.

    Raises:
        StageError: the source has something that cannot be used.
    """
    with workspace.publish("data") as output:
        open_source(config.data, config.seed).write(PreparedWriter(output.directory, config.data.image_size))
        dataset = load_dataset(output.directory)
        write_card(dataset, output.directory, config.data.name, config.data.source)
        counts = split_counts(dataset)
        output.figures |= {"pictures": len(dataset.images), "pairs": len(dataset.records), "splits": counts}
    sizes = ", ".join(f"{name} {count['pictures']}" for name, count in counts.items())
    side = dataset.image_size
    logger.info(
        "data: %d pictures of %dx%d, %d captions (%s)", len(dataset.images), side, side, len(dataset.records), sizes
    )
    logger.info("data: what it holds is in %s", workspace.directory("data") / CARD)
