"""Write files so that a reader, or a crash, meets the old content or the new one and nothing between."""

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

WRITING = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between tries
READING = WRITING[:5]
_HALF = 80  # characters that are kept of each end of a long name; file systems take 255 bytes
_TRASH = ".trash-"  # begins the name of a folder that is being removed


def patiently(action: Callable[[], T], pauses: Sequence[float] = WRITING) -> T:
    """What `action` returns; tried again after each of `pauses` where access is denied.

    Windows denies to replace, remove or rename a file while any thread or process has it open, and to open
    one that is being removed. Readers, virus scanners and indexers hold a file for moments only.

    Raises:
        PermissionError: Access is still denied after the last pause.
    """
    for pause in pauses:
        try:
            return action()
        except PermissionError:
            time.sleep(pause)
    return action()


def write_atomic(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write to a new file beside `path`, flush it to disk, and rename it into place.

    `content` may come in parts, which are written one after another. The file gets the permissions that
    any new file of this user gets.

    Raises:
        OSError: The folder cannot be written, or the disk is full; `path` is then as it was.
    """
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path`, to be written and closed; it takes the place of `path` if that goes well.

    Raises:
        OSError: It cannot be renamed.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        patiently(lambda: temporary.replace(path))
    except BaseException:
        with contextlib.suppress(OSError):  # the first error tells more
            temporary.unlink(missing_ok=True)
        raise


def safe_file_name(name: str) -> str:
    """A name as given by people or programs as one that every file system takes, without folders."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name.replace("\\", "/")).name).lstrip(".") or "file"
    return safe if len(safe) <= 2 * _HALF else safe[:_HALF] + safe[-_HALF:]


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when the file is absent or damaged."""
    try:
        body = json.loads(patiently(path.read_bytes, READING).decode("utf-8"))
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def to_json(body: Mapping[str, Any]) -> bytes:
    """An object as a file for people and machines."""
    return json.dumps(body, indent=1, ensure_ascii=False).encode()


def remove_folder(folder: Path) -> None:
    """Remove a folder as a whole or not at all: it is renamed first, and then emptied.

    Files that somebody has open then stay below the other name until `remove_leftovers`.

    Raises:
        OSError: It is not there, may not be removed, or (on Windows) a file in it is open; it is as it was.
    """
    trash = folder.with_name(f"{_TRASH}{secrets.token_hex(6)}")
    patiently(lambda: folder.rename(trash))
    _empty(trash)


def remove_leftovers(parent: Path) -> None:
    """Delete what is left of folders in `parent` that were removed; for the start of a program."""
    with contextlib.suppress(OSError):
        for trash in parent.glob(f"{_TRASH}*"):
            _empty(trash)


def _empty(trash: Path) -> None:
    """Delete a removed folder, as far as nobody has its files open."""
    with contextlib.suppress(OSError):
        patiently(lambda: shutil.rmtree(trash))
