"""The layout of image-generation tools: beside each picture `a.png` a text file `a.txt` with its one caption.

The whole file is the caption, its line breaks taken as spaces. Sub-folders are searched; files and folders whose name
begins with a dot are left alone. A picture without a caption file and a text file without a picture are errors: either
is a pair that would be lost without a word.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from stages.data.entries import Caption
from stages.data.folder.catalogue import Catalogue
from stages.data.folder.checks import MAX_TEXT, check_captions, check_inside, check_name, decode, picture_suffixes
from stages.errors import StageError


def find_pictures(root: Path) -> Iterator[Path]:
    """The pictures below the folder, told by their endings, in the order of their names."""
    suffixes = picture_suffixes()
    return (path for path in _files(root) if path.suffix.lower() in suffixes)


def read_sidecars(root: Path) -> Catalogue:
    """Every picture below the folder with the caption beside it.

    Raises:
        StageError: no picture, one without the other, a caption that cannot be used, a link out of the folder.
    """
    resolved = root.resolve()
    catalogue = Catalogue(root, root, lambda name, _: str((root / name).with_suffix(".txt")))
    captioned: set[Path] = set()
    for path in find_pictures(root):
        text = path.with_suffix(".txt")
        if not text.is_file():
            raise StageError(f"{path} has no caption: write one into {text.name} beside it or remove the picture")
        for file in (path, text):
            check_inside(file, str(file), resolved)
        name = check_name(path.relative_to(root).as_posix(), ascii(str(root)), root)
        catalogue.add(name, [_caption(text, path.name)])
        captioned.add(text)
    if not len(catalogue):
        raise StageError(
            f"{root} holds no pictures with captions: add metadata.jsonl or metadata.csv with 'file_name' and 'text', "
            f"a .txt beside each picture, or .tar shards"
        )
    for path in _files(root):
        if path.suffix == ".txt" and path not in captioned:
            raise StageError(f"{path} has no picture beside it: add the picture or remove the text file")
    return catalogue.finish()


def _caption(path: Path, picture: str) -> Caption:
    with path.open("rb") as file:
        text = decode(file.read(MAX_TEXT + 1), str(path))
    return Caption(check_captions(text, picture, str(path))[0])


def _files(root: Path) -> Iterator[Path]:
    """The files below the folder, in the order of their names; linked folders are not entered."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(directory) / name
