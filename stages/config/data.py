"""The config section `data`: which pictures, how large, how many."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from stages.config.musti import MustiConfig

SourceName = Literal["scenes", "folder", "musti"]
"""Each has a section of its own in `DataConfig`."""


@dataclass(frozen=True)
class ScenesConfig:
    """Number of drawn pictures in each split."""

    train: int = 6000
    """Pictures to learn from; some titles leave out an attribute or two."""
    val: int = 500
    """Pictures for validation while learning."""
    test: int = 500
    """Pictures for the final figures."""
    compositions: int = 500
    """Pictures of combinations of attribute values that no other split shows."""

    def __post_init__(self) -> None:
        for name in ("train", "val", "test", "compositions"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.scenes.{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class FolderConfig:
    """Pictures and captions in a folder of one's own."""

    path: str = ""
    """Folder with `metadata.jsonl` or `metadata.csv` (columns `file_name`, `text`, optional `group`, `split`); or with
    WebDataset shards (`*.tar`); or with a caption `a.txt` beside each picture `a.png`. Taken in this order."""


@dataclass(frozen=True)
class PicturesConfig:
    """How picture files become square RGB pictures of one size."""

    resize: Literal["crop", "pad", "stretch"] = "crop"
    """How a picture becomes square: cut at the centre, framed with `background`, or stretched."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Red, green, blue (0 to 255) seen through transparency and around padded pictures."""

    def __post_init__(self) -> None:
        if any(not 0 <= level <= 255 for level in self.background):
            raise ValueError(f"data.pictures.background must be three numbers from 0 to 255, got {self.background}")


@dataclass(frozen=True)
class SplitsConfig:
    """How pictures from files are split; `scenes` has splits of its own."""

    val_fraction: float = 0.1
    """Share of the pictures for validation."""
    test_fraction: float = 0.1
    """Share of the pictures for the final figures."""
    near_duplicate_bits: int = 12
    """Bits of 128 by which the perceptual hashes of two pictures may differ for them to be looked at as near
    duplicates, which are never on two sides of a split; 0 looks for exact ones only."""
    official: bool = False
    """Whether each pair goes to the split that the source puts it in; `val` is cut from train where there is none. What
    the splits then share is measured and said."""
    test_list: str = ""
    """Text file of file names, one a line, that are exactly the test split; what belongs to a group with one of them
    is set aside. Empty: chosen by group."""
    val_list: str = ""
    """The same for the validation split."""
    lists_take_groups: bool = True
    """Whether what belongs to a group with a listed picture is set aside. False: only duplicates of it are, so that a
    list can hold out combinations (one colour of some shapes) whose parts are learnt from the rest of their groups."""

    def __post_init__(self) -> None:
        if not 0 <= self.near_duplicate_bits <= 32:
            got = self.near_duplicate_bits
            raise ValueError(f"data.splits.near_duplicate_bits must be from 0 (off) to 32, got {got}")
        if self.official and (self.test_list or self.val_list):
            raise ValueError("data.splits.official excludes test_list and val_list: leave out one or the other")
        for name in ("val_fraction", "test_fraction"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"data.splits.{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.val_fraction + self.test_fraction >= 1.0:
            share = self.val_fraction + self.test_fraction
            raise ValueError(f"data.splits.val_fraction + test_fraction must be below 1, got {share:g}")


@dataclass(frozen=True)
class DataConfig:
    """The data set of a run."""

    name: str = "scenes"
    """Name of the prepared set and of its folder under `data`."""
    source: SourceName = "scenes"
    """Where pictures and captions come from: drawn by the program, a folder of pictures with captions, or MUSTI."""
    image_size: int = 64
    """Side of the prepared pictures, pixels; a multiple of 8 from 16 to 1024."""
    scenes: ScenesConfig = field(default_factory=ScenesConfig)
    folder: FolderConfig = field(default_factory=FolderConfig)
    musti: MustiConfig = field(default_factory=MustiConfig)
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    splits: SplitsConfig = field(default_factory=SplitsConfig)

    def __post_init__(self) -> None:
        if not self.name or self.name in {".", ".."} or "/" in self.name or "\\" in self.name:
            raise ValueError(f"data.name must be the name of a folder, not a path, got {self.name!r}")
        if self.image_size % 8:
            raise ValueError(f"data.image_size must be a multiple of 8, got {self.image_size}")
        if not 16 <= self.image_size <= 1024:
            raise ValueError(f"data.image_size must be from 16 to 1024 pixels, got {self.image_size}")

    def fingerprint(self) -> dict[str, Any]:
        """What of this section a prepared set is made by: the settings of another source do not make it stale."""
        section = dataclasses.asdict(self)
        unused = {*get_args(SourceName)} - {self.source}
        unused |= {"pictures", "splits"} if self.source == "scenes" else set()
        return {name: value for name, value in section.items() if name not in unused}
