"""How functions are compiled, and where numba keeps what it has compiled."""

import hashlib
import importlib
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import torch

HERE = Path(__file__).parent
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "_nrt": False,  # nothing is allocated, and counting references at every slice took longer than the arithmetic
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan"},  # sums in any order; infinities stay what they are
}
_settings: Any = numba.config
F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = numba.njit  # its types know neither all options nor that what it returns is called like what it is given


def part(function: F) -> F:
    """Compiled into what calls it; not to be called from Python."""
    compiled: F = _njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True, **_OPTIONS)(function)
    return compiled


def whole(function: F, **options: Any) -> F:
    """Compiled with its parts at its first call, and kept for the next process.

    numba asks whether the function's own file has changed, but its parts lie in others, of its folder and this one:
    what is kept lies in a folder that is named by the content of them all, where `NUMBA_CACHE_DIR` says or beside
    this file.
    """
    digest = sources_digest(HERE, Path(function.__code__.co_filename).parent)
    asked = _settings.CACHE_DIR
    _settings.CACHE_DIR = str(Path(asked or HERE / "__pycache__") / f"numba-{digest}")
    try:
        compiled: F = _njit(cache=True, **(_OPTIONS | options))(function)
    finally:
        _settings.CACHE_DIR = asked
    return compiled


def whole_on_all_cores(function: F) -> F:
    """The same, with the rounds of its `prange` shared out among as many cores as torch uses.

    For training: what is no number stays none, so that a loss that is lost is seen.
    """
    compiled: Any = whole(function, parallel=True, _nrt=True, fastmath=_OPTIONS["fastmath"] - {"nnan"})

    @wraps(compiled)
    def shared_out(*args: Any) -> Any:
        _start_threads()
        numba.set_num_threads(min(torch.get_num_threads(), _settings.NUMBA_NUM_THREADS))
        return compiled(*args)

    return cast(F, shared_out)


@cache
def _start_threads() -> None:
    """Starts numba's threads, one a core, and leaves torch the number that it had.

    Both share out work by the same OpenMP, and numba tells it to use all cores: with `OMP_NUM_THREADS=1` torch would
    use them too from then on, and beside another busy process take five times as long.
    """
    cores = torch.get_num_threads()
    numba.set_num_threads(1)
    if torch.get_num_threads() != cores:
        torch.set_num_threads(cores)


@cache
def has_openmp() -> bool:
    """Whether numba shares out work by OpenMP on this machine. What it has instead takes longer to share out the small
    pieces of a training step than the library takes to do them."""
    try:
        importlib.import_module("numba.np.ufunc.omppool")
    except ImportError:
        return False
    return True


def sources_digest(*folders: Path) -> str:
    """Of the names and contents of the folders' Python files."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in set(folders) for path in folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
