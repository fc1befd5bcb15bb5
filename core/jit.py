"""Compile a hot loop with Numba: GIL released, result cached on disk where a place for it can be written."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`numba.njit(nogil=True, cache=True)`, compiled at the first call and not at import.

    Numba keeps the machine code beside the source, or in the user's cache directory (NUMBA_CACHE_DIR
    overrides both); where none of them can be written, it is compiled anew in each process. Several processes
    may compile a loop at the same time.
    """
    njit: Any = numba.njit
    try:
        result = njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # "no locator available": neither directory is writable
        result = njit(nogil=True, error_model="numpy")(function)
    else:
        _name_files_by_signature(result)
    return cast(F, result)


def _name_files_by_signature(loop: Any) -> None:
    """Let the files of a loop's machine code be named after what they were compiled for.

    Numba numbers them: two processes that compile a loop for different types at the same time take the same
    number, and the index that is written last can name the code of the other, which computes nonsense.
    """
    files: Any = getattr(getattr(loop, "_cache", None), "_cache_file", None)  # none with NUMBA_DISABLE_JIT
    parts = ("_load_index", "_save_index", "_data_name", "_save_data")
    if all(hasattr(files, part) for part in parts):  # they are Numba's own, and may change
        files.save = partial(_save, files)


def _save(files: Any, key: object, data: object) -> None:
    """`IndexDataCacheFile.save` of Numba, but for the name; data first, so that the index names no old ones.

    Of two indexes that are written at the same time the last one stays, and what it lacks is compiled again.
    """
    name = files._data_name(int(hashlib.sha256(repr(key).encode()).hexdigest()[:12], 16))
    files._save_data(name, data)
    files._save_index({**files._load_index(), key: name})
