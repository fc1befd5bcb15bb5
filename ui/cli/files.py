"""Files that a command line names: read, checked before minutes are spent, and written."""

from __future__ import annotations

import os
from pathlib import Path

from quantscope.core.errors import QuantScopeError
from quantscope.core.files import write_atomic
from quantscope.ui.terminal.console import BadInput


def read_text(path: Path, error: type[QuantScopeError]) -> str:
    """A text file's content, or `error` saying why there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise error(f"{path} is not a text file") from None


def check_output(path: Path, suffixes: tuple[str, ...], *inputs: Path | None) -> None:
    """Make sure, before minutes are spent, that a file can be written and that it is none of the inputs.

    The suffix is insisted on: weights that lie beside a model would be lost under any other name.

    Raises:
        BadInput: it cannot, or it is.
    """
    folder = path.parent
    if path == Path():
        raise BadInput(f"the file to write has no name; give one that ends in {suffixes[0]}")
    if path.name.lower() in suffixes:
        raise BadInput(f"{path} has no name before its ending; write to a file such as out{suffixes[0]}")
    if path.suffix.lower() not in suffixes:
        raise BadInput(f"{path} should end in {' or '.join(suffixes)}, since that is what will be in it")
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name the file to write")
    if not folder.is_dir():
        raise BadInput(f"the folder {folder} does not exist; create it, or write somewhere else")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise BadInput(f"{path} cannot be written: no permission; write somewhere else")
    for given in inputs:
        if given is not None:
            _check_apart(path, given)


def _check_apart(path: Path, given: Path) -> None:
    """Raises `BadInput` where writing `path` would change what `given` holds."""
    if path.exists() and given.exists() and path.samefile(given):
        raise BadInput(f"{path} is an input of this command and would be lost; write to another file")
    if path.resolve() == given.resolve():
        raise BadInput(f"{path} is named twice; write to another file")
    if path.suffix.lower() == ".npz" and given.is_dir() and given.resolve() in path.resolve().parents:
        raise BadInput(f"{path} lies among the samples and would be read as one; write somewhere else")


def write(path: Path, content: bytes) -> None:
    """Write a result.

    Raises:
        BadInput: the disk is full, or the folder cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from error
