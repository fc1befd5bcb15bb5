"""A place in a form that takes a path on this machine, or an uploaded file."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from quantscope.core.errors import QuantScopeError
from quantscope.ui.content import text
from quantscope.ui.session import opening
from quantscope.ui.session.memory import Key

PATH, UPLOAD = "Local path", "Upload"
DATA_TYPES = ("npz", "npy", "zip")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOrFile:
    """Where a path is typed or a file uploaded, by the user's choice.

    What it holds is asked for when a button is pressed: a click may come together with a path that was typed
    just before it, and the button was drawn without that.
    """

    path: Key[str]
    path_label: str
    placeholder: str
    look: Callable[[str], object]  # raises where a path leads nowhere
    file: Key[UploadedFile | None]
    file_label: str
    types: tuple[str, ...]

    def draw(self, by: str, on_change: Callable[[], None] | None = None) -> bool:
        """Draw the field for one of `PATH` and `UPLOAD`; whether a path that was typed is fine.

        What is wrong with it is said below it.
        """
        if by == UPLOAD:
            st.file_uploader(self.file_label, type=list(self.types), key=self.file.name, on_change=on_change)
            return True
        typed = st.text_input(
            self.path_label, key=self.path.name, placeholder=self.placeholder, on_change=on_change
        )
        if not typed:
            return True
        try:
            self.look(typed)
        except QuantScopeError as error:
            st.error(text.escape(text.sentence(str(error))), icon=":material/error:")
            return False
        return True

    def chosen(self, by: str) -> str | UploadedFile | None:
        """The path or the file that stands in it now; nothing where it is empty."""
        return self.file.get() if by == UPLOAD else self.path.get() or None


def given(chosen: str | UploadedFile) -> opening.Given:
    """Data as a path that was typed, or as an uploaded file."""
    if isinstance(chosen, str):
        return opening.data_source(chosen)
    return chosen.name, chosen.getvalue()
