"""A component's script, made of its files."""

from pathlib import Path

_ENTRY = Path(__file__).with_name("entry.js")


def component_script(*files: Path) -> str:
    """The files in one, as a module that Streamlit calls.

    One of them has a function `main`: it gets what Streamlit gives a component, for each new value, and may
    return a function that cleans up when the element goes.
    """
    return "\n".join(file.read_text(encoding="utf-8") for file in (*files, _ENTRY))
