"""The source `folder`: pictures and captions of one's own, in one of three layouts that are in use elsewhere."""

from stages.data.folder.source import FolderSource, read_folder

__all__ = ["FolderSource", "read_folder"]
