"""Tells the layout of a folder and prepares what it holds.

metadata.jsonl, metadata.csv   ImageFolder of Hugging Face `datasets`: a record for each picture
*.tar                          WebDataset shards: members `key.jpg` with `key.txt` or `key.json`
a.png + a.txt                  a caption file beside each picture, as image-generation tools have it

The first of these that the folder has is taken.
"""

from pathlib import Path

from stages.config.data import DataConfig
from stages.data.assembly import assemble
from stages.data.folder.catalogue import Catalogue
from stages.data.folder.metadata import METADATA, read_metadata
from stages.data.folder.shards import read_shards
from stages.data.folder.sidecars import find_pictures, read_sidecars
from stages.data.prepared import PreparedWriter
from stages.data.splitting import TooFewGroups
from stages.errors import StageError


class FolderSource:
    """Pictures with captions from a folder, split by group (or by picture where there is none)."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.config, self.seed = config, seed

    def write(self, writer: PreparedWriter) -> None:
        """Checks every record, reads every picture and writes them in their splits.

        Raises:
            StageError: nothing to read, a record or picture that cannot be used, too few groups for the splits, or a
                folder that the prepared set would replace.
        """
        writer.refuse_to_replace("data.folder.path", self.config.folder.path, self.config.name)
        entries = read_folder(self.config.folder.path)
        try:
            assemble(entries, writer, self.config.pictures, self.config.splits, self.seed)
        except TooFewGroups as error:
            raise StageError(f"{entries.place}: {error}") from None


def read_folder(folder: str) -> Catalogue:
    """Every picture of the folder with its captions, whichever layout it has.

    Raises:
        StageError: no such folder, no layout that is known, or a record that cannot be used.
    """
    if not folder:
        raise StageError("data.folder.path is empty: name the folder that holds your pictures")
    root = Path(folder)
    if not root.is_dir():
        raise StageError(f"data.folder.path: {folder} is not a folder: correct the path")
    for name in METADATA:
        if (root / name).is_file():
            return read_metadata(root / name)
    shards = sorted(path for path in root.glob("*.tar") if not path.name.startswith("."))
    if not shards:
        return read_sidecars(root)
    loose = next(find_pictures(root), None)
    if loose is not None:
        raise StageError(f"{root} holds shards ({shards[0].name}) and pictures ({loose}): keep either in a folder")
    return read_shards(root, shards)
