"""A component's script, made of its files."""

from pathlib import Path

_LAST = Path(__file__).with_name("last.js")


def script(*files: Path) -> str:
    """The files in one, after the function `last` with which a component returns its cleanup."""
    return "\n".join(file.read_text(encoding="utf-8") for file in (_LAST, *files))
