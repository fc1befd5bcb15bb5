"""What must not be missed, as Python warnings that point at the user's own line."""

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

_FOLDER = str(Path(__file__).resolve().parent)


class QuantScopeWarning(UserWarning):
    """Something about a model, its data or a result that deserves a look, and does not stop the work."""


def warn(messages: Iterable[str]) -> None:
    """Issue each message as a `QuantScopeWarning` of the line that called into this package."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_FOLDER):
        level, frame = level + 1, frame.f_back
    for message in messages:
        warnings.warn(message, QuantScopeWarning, stacklevel=level)
