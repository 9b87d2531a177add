"""The folder of fetched pictures: a file is there under its final name only when it is whole and decodes.

<sha256 of the url>.<suffix>   a picture
<sha256 of the url>.part       a picture being written; removed when a killed run is taken up again
dead.jsonl                     links that their hosts have declared dead in a run that has not been completed
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.errors import StageError

DEAD = "dead.jsonl"
_PARTIAL = ".part"


class PictureCache:
    """Pictures by url. Use `open_cache`, which keeps other processes away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Path] = {}
        for path in folder.iterdir():
            if path.suffix == _PARTIAL:
                path.unlink()
            elif len(path.stem) == 64:
                self._files[path.stem] = path
        self.dead = self._read_dead()
        """Url -> reason, as told by the hosts in an earlier run that has not been completed."""

    def find(self, url: str) -> Path | None:
        """The url's picture, if it is there."""
        return self._files.get(url_key(url))

    def partial(self, url: str) -> Path:
        """Where the url's picture is written until it has been checked."""
        return self.folder / f"{url_key(url)}{_PARTIAL}"

    def keep(self, url: str, suffix: str) -> Path:
        """Takes what was written to `partial(url)` into the cache; returns its path."""
        path = self.folder / f"{url_key(url)}{suffix}"
        with self.partial(url).open("rb") as file:
            os.fsync(file.fileno())  # a name must not survive a power cut that its content does not
        self.partial(url).replace(path)
        self._files[url_key(url)] = path
        return path

    def drop(self, url: str) -> None:
        """Removes the url's picture."""
        path = self._files.pop(url_key(url), None)
        if path is not None:
            path.unlink(missing_ok=True)

    def remember_dead(self, url: str, reason: str) -> None:
        """Notes that the url's host declared it dead, so that an interrupted run does not ask again."""
        self.dead[url] = reason
        with (self.folder / DEAD).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"url": url, "reason": reason}) + "\n")

    def _read_dead(self) -> dict[str, str]:
        path = self.folder / DEAD
        dead: dict[str, str] = {}
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
        for line in lines:
            try:
                record = json.loads(line)
                dead[record["url"]] = record["reason"]
            except (ValueError, KeyError, TypeError):  # the end of the file, or a line that a kill has cut
                continue
        if lines and lines[-1]:
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")
        return dead


@contextmanager
def open_cache(folder: Path) -> Iterator[PictureCache]:
    """The cache in `folder`, made if need be, for this process alone.

    Raises:
        StageError: another process is filling it, or `folder` is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise StageError(f"data.musti.cache: {folder} is not a folder: correct the path")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StageError(f"another process is fetching into {folder}; wait for it") from None
        yield PictureCache(folder)


def forget_dead(folder: Path) -> None:
    """Lets the next run ask again for links that were dead in this one: it has been completed."""
    (folder / DEAD).unlink(missing_ok=True)


def url_key(url: str) -> str:
    """sha256 of the whole url: different urls share base names."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
