"""Paths that are given where other things could be too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from quantscope.core.errors import QuantScopeError

INSTEAD = {"ModelProto": "; give proto.SerializeToString()", "QuantizedModel": "; give its to_bytes()"}


def path_of(given: Any, error: type[QuantScopeError], expected: str) -> Path:
    """What is given as a path.

    Raises:
        QuantScopeError: It is none. It is of the kind `error`, and says what was expected.
    """
    if isinstance(given, str | os.PathLike):
        return Path(given)
    kind = type(given).__name__
    raise error(f"{expected} is expected, not {kind}{INSTEAD.get(kind, '')}")
