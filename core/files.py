"""Write files so that a reader, or a crash, meets the old content or the new one and nothing between."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def write_atomic(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write to a new file beside `path`, flush it to disk, and rename it into place.

    `content` may come in parts, which are written one after another. The file gets the permissions that
    any new file of this user gets.

    Raises:
        OSError: The folder cannot be written, or the disk is full; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
