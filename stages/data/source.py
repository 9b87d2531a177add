"""The sources a data set can come from, and how to tell that one has changed.

A new source is a class with `write(writer)`, named in `DataConfig.source` and opened here.
"""

import hashlib
import os
from pathlib import Path

from stages.config.data import DataConfig
from stages.data.prepared import Source

_OF_FILE_MANAGERS = (".DS_Store", ".directory", "Thumbs.db", "desktop.ini")


def digest(config: DataConfig) -> str | None:
    """A digest of what the data are made from, besides the config: it changes when they would have to be made again.

    The source, and for one that is split here what the lists of the splits say. None where there is no source.
    """
    source = _source_digest(config)
    if config.source == "scenes":
        return source
    lists = [Path(path) for path in (config.splits.test_list, config.splits.val_list) if path]
    said = [hashlib.sha256(path.read_bytes()).hexdigest() for path in lists if path.is_file()]
    return source and " ".join((source, *said))


def open_source(config: DataConfig, seed: int) -> Source:
    """The source that the config names."""
    if config.source == "folder":
        from stages.data.folder import FolderSource

        return FolderSource(config, seed)
    if config.source == "musti":
        from stages.data.musti import MustiSource

        return MustiSource(config, seed)
    from stages.data.scenes import ScenesSource

    return ScenesSource(config.scenes, seed)


def _source_digest(config: DataConfig) -> str | None:
    """For a folder: name, size and time of change of every file in it, but of those that file managers leave where one
    has looked; None when there is no such folder. For MUSTI: the sha256 of the JSON files. For `scenes`: the version of
    the painter."""
    if config.source == "folder":
        return _folder_digest(Path(config.folder.path)) if config.folder.path else None
    if config.source == "musti":
        return _files_digest(config.musti.train, config.musti.test)
    from stages.data.scenes.painter import VERSION

    return f"scenes {VERSION}"


def _folder_digest(folder: Path) -> str | None:
    if not folder.is_dir():
        return None
    state = hashlib.sha256()
    for directory, names, files in os.walk(folder):
        names.sort()
        for name in sorted(files):
            path = Path(directory) / name
            if name not in _OF_FILE_MANAGERS and path.is_file():
                status = path.stat()
                state.update(os.fsencode(f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return state.hexdigest()


def _files_digest(*names: str) -> str | None:
    """A digest of the contents of files in their order; None when one that is named is not there."""
    state = hashlib.sha256()
    for name in names:
        if name and not Path(name).is_file():
            return None
        state.update(hashlib.sha256(Path(name).read_bytes() if name else b"").digest())
    return state.hexdigest()
