"""The source `scenes`: plans the splits, titles every picture and has it painted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.config.data import ScenesConfig
from stages.data.prepared import Contrast, PreparedWriter
from stages.data.scenes.attributes import SCENES, SPLITS, attribute_values, picture_seed, plan_split
from stages.data.scenes.painter import Job, paint_all, paint_picture
from stages.data.scenes.passages import compose_passage
from stages.data.scenes.titles import compose_title, read_title

_SHORTENED = 0.15  # share of train titles that leave something unsaid
_WORDS = 1  # sets the random stream of a picture's words apart from that of its paint
_CONTRAST = 2  # and this one what its contrast gets wrong


class ScenesSource:
    """The default data set, decided by the counts of its splits and a seed."""

    def __init__(self, config: ScenesConfig, seed: int) -> None:
        self.counts = {"train": config.train, "val": config.val, "test": config.test,
                       "compositions": config.compositions}  # fmt: skip
        self.seed = seed

    def write(self, writer: PreparedWriter) -> None:
        """Paints and describes every picture of every split."""
        writer.allocate(sum(self.counts.values()))
        jobs: list[Job] = []
        for split in SPLITS:
            for place, attributes in enumerate(plan_split(split, self.counts[split], self.seed)):
                row, seed = len(jobs), picture_seed(split, place, self.seed)
                jobs.append((row, seed, attributes))
                title, musti = describe(attributes, seed, shorten=split == "train")
                contrast = contradict(attributes, title, seed) if split != "train" else None
                name = f"{split}/{place:06d}.png"
                writer.add(row, title, file_name=name, split=split, group=name, attributes=attributes,
                           contrast=contrast, musti=musti)  # fmt: skip
        paint_all(writer.images_path, writer.image_size, jobs)
        writer.close(attribute_values())


def paint_examples(count: int, size: int, seed: int) -> tuple[NDArray[np.uint8], list[dict[str, str]]]:
    """Pictures (count, size, size, 3) uint8 of all combinations, and their attributes, none of them in the data set.

    For a classifier that must have no blind spot where the data set's training pictures have one by design. Takes 3 to
    5 ms a picture at 64 px.
    """
    plan = plan_split("examples", count, seed)
    places = enumerate(tqdm(plan, desc="painting examples", unit="picture"))
    seeds = ((picture_seed("examples", place, seed), attributes) for place, attributes in places)
    return np.stack([paint_picture(attributes, size, own) for own, attributes in seeds]), plan


def describe(attributes: dict[str, str], seed: tuple[int, ...], *, shorten: bool) -> tuple[str, dict[str, Any]]:
    """The title and the further MUSTI fields of a picture; with `shorten`, some titles leave something unsaid."""
    rng = np.random.default_rng((*seed, _WORDS))
    shorten = bool(rng.random() < _SHORTENED) and shorten
    title = compose_title(attributes, rng, shorten=shorten)
    passage, smell = compose_passage(attributes["subject"], rng)
    musti = {"language": "en", "subtask1_label": "YES", "subtask2_labels": [smell], "text": passage}
    return title, musti


def contradict(attributes: dict[str, str], title: str, seed: tuple[int, ...]) -> Contrast:
    """The title that the picture would have had, had one of the attributes that its title names another value."""
    rng = np.random.default_rng((*seed, _CONTRAST))
    named = [name for name in read_title(title) if name != "subject"]
    attribute = named[int(rng.integers(len(named)))]
    others = [value for value in SCENES[attributes["subject"]][attribute] if value != attributes[attribute]]
    changed = {**attributes, attribute: others[int(rng.integers(len(others)))]}
    return Contrast(describe(changed, seed, shorten=False)[0], attribute)
