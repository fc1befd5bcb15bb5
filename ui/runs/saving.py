"""Write the exported model and its recipe to a place of this machine that the user names."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from quantscope.core.errors import ExportError
from quantscope.core.files import write_atomic
from quantscope.ui.session.opening import Place, place_of, typed_path


def places(typed: str, model_name: str, recipe_name: str) -> tuple[Path, Path]:
    """Where model and recipe go: into a folder, or the model to a file and its recipe beside it.

    Args:
        typed: As the user typed it.
        model_name: The model's file name in a folder.
        recipe_name: That of the recipe.

    Raises:
        ExportError: The path is not absolute, its folder is not there, or it names another kind of file.
    """
    path, what = typed_path(typed)
    if not path.is_absolute():
        raise ExportError(f"'{path}' does not say where on this machine it is; give the whole path")
    if what is Place.FOLDER:
        return path / model_name, path / recipe_name
    if path.suffix.lower() != ".onnx":
        why = "is not a folder that is there" if not path.suffix else "does not end in .onnx"
        raise ExportError(f"{path} {why}; give a folder, or the path of an .onnx file")
    if place_of(path.parent) is not Place.FOLDER:
        raise ExportError(f"there is no folder {path.parent}; make it first, or choose another")
    return path, path.with_name(recipe_name)


def save(contents: Mapping[Path, bytes], *, keep: Path | None, replace: bool) -> tuple[Path, ...]:
    """Write files, each as a whole or not at all.

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
        if place_of(path) is not Place.NOTHING and not replace and not _holds(path, content):
            raise ExportError(f"{path} is there already; tick the box to replace it, or choose another name")
    for path, content in contents.items():
        if _holds(path, content):
            continue
        try:
            write_atomic(path, content)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ExportError(f"{path} cannot be written: {reason}") from error
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
