"""Whether pictures are copies of train pictures: the figures, and sheets of the nearest pairs."""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stages.report.facts import RunFacts, system_name
from stages.report.metric import kind_of, write_value
from stages.report.pictures import Figure, data_uri
from stages.report.table import Table, cross_table

COPYING = ("copied_blip", "copied_pixels", "nearest_train_blip", "nearest_train_pixels")
"""Metrics of a system that stand here rather than among the others."""


@dataclass(frozen=True)
class CopyingSection:
    """What the page shows of it."""

    guide: str
    table: Table
    sheets: list[Figure]


def copying_section(facts: RunFacts) -> CopyingSection:
    """Figures by system, and the sheet of each that has one; all empty where nothing was compared."""
    systems, thresholds = facts.evaluation.systems, facts.evaluation.section("copying")
    there = {path: kind_of(path) for path in COPYING if any(path in metrics for metrics in systems.values())}
    columns = {system_name(name): metrics for name, metrics in systems.items()}
    table = cross_table("copied", "Distance to train pictures", "metric", columns, there)
    near = ", ".join(
        f"{write_value(thresholds[f'threshold_{space}'], 'score')} in {name}"
        for space, name in (("blip", "BLIP features"), ("pixels", "pixels"))
        if f"threshold_{space}" in thresholds
    )
    guide = (
        "Each picture is compared with every train picture. Suspiciously near is nearer than 99 % of the prompts' real "
        f"pictures are, which nobody copied ({near}): about 1 % is what no copying gives, reconstructions and real "
        "pictures being the measure."
    )
    directory = facts.directories.get("evaluation")
    paths = sorted((directory / "copying").glob("*.png")) if directory else []
    known = [path for name in systems for path in paths if path.stem == name]
    return CopyingSection(guide, table, [_sheet(path) for path in known])


def _sheet(path: Path) -> Figure:
    """A sheet as JPEG: of pictures with grain it is a fraction of the size."""
    with Image.open(path) as image:
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=85)
        label = f"{system_name(path.stem)}: the pictures nearest to a train picture"
        return Figure(data_uri("image/jpeg", buffer.getvalue()), *image.size, label)
