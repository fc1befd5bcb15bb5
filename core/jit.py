"""Compile a hot loop with Numba: GIL released, result cached on disk where a place for it can be written."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`numba.njit(nogil=True, cache=True)`, compiled at the first call and not at import.

    Numba keeps the machine code beside the source, or in the user's cache directory (NUMBA_CACHE_DIR
    overrides both); where none of them can be written, it is compiled anew in each process.
    """
    njit: Any = numba.njit
    try:
        result = njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # "no locator available": neither directory is writable
        result = njit(nogil=True, error_model="numpy")(function)
    return cast(F, result)
