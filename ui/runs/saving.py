"""Write the exported model and its recipe to a place of this machine that the user names."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from quantscope.core.errors import ExportError
from quantscope.core.files import write_atomic
from quantscope.ui.session.opening import unquoted


def places(typed: str, model_name: str, recipe_name: str) -> tuple[Path, Path]:
    """Where model and recipe go: into a folder, or the model to a file and its recipe beside it.

    Args:
        typed: As the user typed it.
        model_name: The model's file name in a folder.
        recipe_name: That of the recipe.

    Raises:
        ExportError: The path is not absolute, its folder is not there, or it names another kind of file.
    """
    path = Path(unquoted(typed)).expanduser()
    if not path.is_absolute():
        raise ExportError(f"'{path}' does not say where on this machine it is; give the whole path")
    if path.is_dir():
        return path / model_name, path / recipe_name
    if path.suffix.lower() != ".onnx":
        what = "is not a folder that is there" if not path.suffix else "does not end in .onnx"
        raise ExportError(f"{path} {what}; give a folder, or the path of an .onnx file")
    if not path.parent.is_dir():
        raise ExportError(f"there is no folder {path.parent}; make it first, or choose another")
    return path, path.with_name(recipe_name)


def save(contents: Mapping[Path, bytes], *, keep: Path | None, replace: bool) -> tuple[Path, ...]:
    """Write files as a whole or not at all.

    Args:
        contents: Of each file.
        keep: A file that is never written over: the float model.
        replace: Whether files of other content may be written over.

    Returns:
        Those that were written; others were there already, byte for byte.

    Raises:
        ExportError: One may not be written over, or cannot be written.
    """
    written = []
    for path, content in contents.items():
        if keep is not None and _same_file(path, keep):
            raise ExportError(f"{path} is the float model; choose another name")
        if path.exists() and not replace and not _holds(path, content):
            raise ExportError(f"{path} is there already; tick the box to replace it, or choose another name")
    for path, content in contents.items():
        if _holds(path, content):
            continue
        try:
            write_atomic(path, content)
        except OSError as error:
            raise ExportError(f"{path} cannot be written: {error.strerror or error}") from error
        written.append(path)
    return tuple(written)


def _holds(path: Path, content: bytes) -> bool:
    with suppress(OSError):
        return path.stat().st_size == len(content) and path.read_bytes() == content
    return False


def _same_file(path: Path, other: Path) -> bool:
    with suppress(OSError):
        return path.exists() and other.exists() and path.samefile(other)
    return False
