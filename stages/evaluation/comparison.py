"""Every system drawn for the same prompts and scored alike."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from stages.config import RunConfig
from stages.data import PreparedSet
from stages.errors import StageError
from stages.evaluation.compared import COMPARED
from stages.evaluation.drawing import Drawn, draw_pictures, seconds_per_picture
from stages.evaluation.prompts import Prompts, derange
from stages.evaluation.scores import Case, Instruments, attribute_scores, score, unavailable_scores, write_captions
from stages.evaluation.systems import System, painting_systems, systems_of
from stages.metrics import Metric
from stages.workspace import Workspace

NO_OTHER_CAPTION = "every prompt has the same words or picture, so there is no other caption to score against"
SHUFFLED = "prior_shuffled"
Scores = dict[str, dict[str, Metric]]
"""By system, by metric."""


class Comparison:
    """What stays the same from system to system.

    Args:
        instruments: what all pictures are measured with.
    """

    def __init__(self, config: RunConfig, workspace: Workspace, dataset: PreparedSet, instruments: Instruments) -> None:
        self.section, self.workspace = config.evaluation, workspace
        self.dataset, self.instruments = dataset, instruments
        self.seed = config.seed
        self.drawing_seed = config.seed + config.evaluation.seed_offset
        self.scratch = workspace.scratch("evaluation") / "pictures"
        self.systems = systems_of(workspace, dataset, self.drawing_seed)

    def systems_named(self, names: Collection[str]) -> list[System]:
        """Those of the systems, in their own order."""
        return [system for system in self.systems if system.name in names]

    def score_systems(self, prompts: Prompts, folder: Path) -> Scores:
        """Every metric of every system; pictures, prompts and BLIP's captions of the pictures go into `folder`."""
        others = self._write_records(prompts, folder)
        found: Scores = {}
        reasons = {} if others is not None else {SHUFFLED: NO_OTHER_CAPTION}
        captions: dict[str, list[str]] = {}
        for system in self.systems:
            drawn = self._draw(system, prompts, system.name)
            if isinstance(drawn, str):
                reasons[system.name] = drawn
                continue
            np.save(folder / f"{system.name}.npy", drawn.pictures, allow_pickle=False)
            case = self._case(drawn.pictures, prompts, system.name)
            captions[system.name] = case.captions
            found[system.name] = score(case, self.instruments) | self._seconds(drawn, system.not_drawn)
            if system.name == "prior" and others is not None:
                again = self._seconds(drawn, "the pictures are those of 'prior'")
                found[SHUFFLED] = score(case.against(others), self.instruments) | again
        write_json(folder / "captions.json", captions)
        return _of_every_system(found, reasons)

    def score_attributes(self, prompts: Prompts, folder: Path) -> Scores:
        """The attribute metrics of every system that is there, on the prompts of another split."""
        others = self._write_records(prompts, folder)
        labels = self._labels(prompts)
        found: Scores = {}
        for system in self.systems:
            drawn = self._draw(system, prompts, system.name)
            if isinstance(drawn, str):
                continue
            np.save(folder / f"{system.name}.npy", drawn.pictures, allow_pickle=False)
            found[system.name] = attribute_scores(drawn.pictures, labels, self.instruments)
            if system.name == "prior" and others is not None:
                found[SHUFFLED] = attribute_scores(drawn.pictures, labels[others], self.instruments)
        return found

    def score_other(self, system: System, prompts: Prompts) -> dict[str, Metric]:
        """Every metric of a system that is not among those compared.

        Raises:
            StageError: it is not there.
        """
        drawn = self._require(system, prompts)
        return score(self._case(drawn.pictures, prompts, system.name), self.instruments) | self._seconds(drawn)

    def show_other(self, system: System, prompts: Prompts, *, captioned: bool) -> Case:
        """A system's pictures of other prompts than those compared, with what is needed to score them.

        Args:
            captioned: whether BLIP captions them.

        Raises:
            StageError: it is not there.
        """
        pictures = self._require(system, prompts).pictures
        return self._case(pictures, prompts, system.name if captioned else None)

    def score_seed(self, prompts: Prompts, seed: int) -> Scores:
        """Every metric of the systems that paint, with another seed; of those that are there."""
        found: Scores = {}
        for system in painting_systems(self.workspace, seed):
            name = f"{system.name}, seed {seed}"
            drawn = self._draw(system, prompts, name)
            if not isinstance(drawn, str):
                found[system.name] = score(self._case(drawn.pictures, prompts, name), self.instruments)
        return found

    def _write_records(self, prompts: Prompts, folder: Path) -> np.ndarray | None:
        """Says in `folder` what is drawn there; returns whose caption each picture is scored against when shuffled."""
        others = derange(prompts, self.seed)
        folder.mkdir(parents=True)
        write_json(folder / "records.json", prompts.to_json(self.drawing_seed, others))
        return others

    def _require(self, system: System, prompts: Prompts) -> Drawn:
        drawn = self._draw(system, prompts, system.name)
        if isinstance(drawn, str):
            raise StageError(drawn)
        return drawn

    def _draw(self, system: System, prompts: Prompts, name: str) -> Drawn | str:
        """The pictures of a system; the reason in words if it is not there."""
        try:
            draw = system.open(prompts)
        except StageError as error:
            return str(error)
        scratch = self.scratch / prompts.split / name
        return draw_pictures(draw, len(prompts), self.section.batch_size, scratch, f"{name}: {prompts.split}")

    def _seconds(self, drawn: Drawn, not_drawn: str = "") -> dict[str, Metric]:
        return {"seconds_per_picture": seconds_per_picture(drawn, self.instruments.resampling, not_drawn)}

    def _case(self, pictures: np.ndarray, prompts: Prompts, name: str | None) -> Case:
        """With BLIP's captions of the pictures, unless these have no name."""
        targets = np.asarray(self.dataset.images[prompts.image_rows])
        captions = [] if name is None else self._captions(pictures, name)
        return Case(pictures, captions, prompts.texts, prompts.image_rows, targets, self._labels(prompts))

    def _captions(self, pictures: np.ndarray, name: str) -> list[str]:
        """BLIP's captions of the first pictures; equal ones are captioned once."""
        pictures, size = pictures[: self.section.max_captions], self.section.caption_batch_size
        first, places = distinct(pictures)
        batches = write_captions(self.instruments.blip, pictures[first], size)
        total = -(-len(first) // size)
        shown = tqdm(batches, total=total, desc=f"captions of {name}", unit="batch", leave=False, dynamic_ncols=True)
        captions = [caption for batch in shown for caption in batch]
        return [captions[place] for place in places]

    def _labels(self, prompts: Prompts) -> np.ndarray:
        return prompts.labels(self.dataset.attribute_values or {})


def distinct(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (m,) of the first of each kind of picture (n,H,W,3), and which of them each picture equals (n,) in [0,m)."""
    known: dict[bytes, int] = {}
    places = np.array([known.setdefault(picture.tobytes(), len(known)) for picture in pictures], dtype=np.int64)
    return np.unique(places, return_index=True)[1], places


def write_json(path: Path, content: Any) -> None:
    """Writes JSON; a number that is not finite is a mistake here and refused."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _of_every_system(found: Scores, reasons: dict[str, str]) -> Scores:
    """The scores in the order of the table; what could not be drawn has its reason in the place of each metric."""
    names = list(dict.fromkeys(name for metrics in found.values() for name in metrics))
    reasons = {SHUFFLED: reasons.get("prior", NO_OTHER_CAPTION), **reasons}
    return {name: found.get(name) or unavailable_scores(reasons[name], names) for name in COMPARED}
