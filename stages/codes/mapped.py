"""LMDB files for reading: opened when needed, once per process, and mapped for as long as anything looks at them."""

import os
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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


class _Bytes:
    """What numpy makes an array of; the array holds this object, and so the map."""

    def __init__(self, owner: MappedFile, raw: memoryview) -> None:
        self.owner = owner
        self.__array_interface__ = np.frombuffer(raw, dtype=np.uint8).__array_interface__


class _Opened(NamedTuple):
    """A file that is mapped, or that nobody looks at any more and is about to be closed."""

    file: weakref.ref[MappedFile]
    environment: Any
    """LMDB's, to be closed when the file is gone: LMDB's own finaliser does not in a fork, and then refuses to open the
    file anew."""


_Inode = tuple[int, int]  # its device before it
_opened: dict[_Inode, _Opened] = {}
_opening = threading.RLock()  # the garbage collector may drop a file while its own thread opens one


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
    inode = status.st_dev, status.st_ino
    with _opening:
        opened = _opened.get(inode)
        mapped = None if opened is None else opened.file()
        if mapped is None:
            if opened is not None:  # dropped by another thread that has not come to `_close` yet
                opened.environment.close()
            mapped = MappedFile(path, remedy)
            _opened[inode] = _Opened(weakref.ref(mapped, partial(_close, inode)), mapped.environment)
        return mapped


def _close(inode: _Inode, file: weakref.ref[MappedFile]) -> None:
    """Closes a file that nobody looks at any more, unless `open_mapped` has done so to open it anew.

    Called when the last reference is gone for good. A `__del__` is called before: while it closes the file, another
    thread can still get at it by a weak reference.
    """
    with _opening:
        if inode in _opened and _opened[inode].file is file:
            _opened.pop(inode).environment.close()


def _renew_lock() -> None:
    """Another thread may have held it when this process was forked."""
    global _opening
    _opening = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
