"""LMDB files for reading: opened when needed, once per process, and mapped for as long as anything looks at them."""

import os
import threading
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from stages.errors import StageError


class MappedFile:
    """An LMDB file that nobody writes any more.

    Without LMDB's locks, which guard readers against writers: there is no state in it that a process, a thread or a
    fork could disturb.

    Raises:
        StageError: there is no such file, it is not LMDB's, or it is shorter than it says.
    """

    def __init__(self, path: Path, remedy: str) -> None:
        try:
            self.environment = lmdb.open(
                str(path), subdir=False, readonly=True, lock=False, readahead=False, create=False, max_spare_txns=8
            )
        except lmdb.Error as error:
            raise StageError(f"{path} is not a store of codes ({error}); run: {remedy}") from None
        size = path.stat().st_size
        said = (self.environment.info()["last_pgno"] + 1) * self.environment.stat()["psize"]
        if size < said:  # reading there would be a bus error
            self.environment.close()
            raise StageError(f"{path} is cut short: it has {size} bytes, its header says {said}; run: {remedy}")

    @property
    def entries(self) -> int:
        """Number of values in it."""
        entries: int = self.environment.stat()["entries"]
        return entries

    def get(self, place: bytes) -> bytes | None:
        """A value, a copy; None if there is none."""
        with self.environment.begin() as transaction:  # one for each look-up: threads must not share them
            raw: bytes | None = transaction.get(place)
            return raw

    def view(self, place: bytes) -> np.ndarray | None:
        """The bytes of a value where they lie, uint8: they cannot be written to, and while any array of them lives the
        file stays mapped. None if there is none."""
        with self.environment.begin(buffers=True) as transaction:
            raw = transaction.get(place)
            # What LMDB hands out is good for the transaction, in case of writers; here it is for as long as the map
            return None if raw is None else np.asarray(_Bytes(self, raw))

    def __del__(self) -> None:
        if hasattr(self, "environment"):
            self.environment.close()  # LMDB's own finaliser does not, in a fork, and then refuses to open it anew


class _Bytes:
    """What numpy makes an array of; the array holds this object, and so the map."""

    def __init__(self, owner: MappedFile, raw: memoryview) -> None:
        self.owner = owner
        self.__array_interface__ = np.frombuffer(raw, dtype=np.uint8).__array_interface__


_mapped: WeakValueDictionary[tuple[int, int], MappedFile] = WeakValueDictionary()
_mapping = threading.Lock()


def open_mapped(path: Path, remedy: str) -> MappedFile:
    """The map of a file: one per process, because LMDB allows no second one. Known by device and inode: a file that
    was published anew is another one.

    Args:
        remedy: the command that makes the file, for messages.

    Raises:
        StageError: see `MappedFile`.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise StageError(f"{path} is not a store of codes ({error.strerror}); run: {remedy}") from None
    with _mapping:
        mapped = _mapped.get((status.st_dev, status.st_ino))
        if mapped is None:
            mapped = _mapped[status.st_dev, status.st_ino] = MappedFile(path, remedy)
        return mapped


def _renew_lock() -> None:
    """Another thread may have held it when this process was forked."""
    global _mapping
    _mapping = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
