"""Export's other way out: save the model and its recipe to a path of this machine."""

from pathlib import Path

import streamlit as st

from quantscope.core.errors import QuantScopeError
from quantscope.core.recipe import recipe_to_yaml
from quantscope.ui.content import text
from quantscope.ui.runs import exporting, saving
from quantscope.ui.runs.exporting import Verified
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Saved
from quantscope.ui.session.memory import uninterrupted

HERE = ("127.0.0.1", "localhost", "::1")


def render(now: state.Session, stem: str, ready: Verified | None) -> None:
    """Draw it; nothing where people on other machines can reach the page, whose disk this is not.

    Args:
        now: The open project.
        stem: Begins the names of the files.
        ready: The verified file; None as long as there is none.
    """
    if st.get_option("server.address") not in (None, *HERE):
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        path = st.text_input(
            "Or save to a path",
            key=keys.SAVE_PATH.name,
            placeholder="/models/out, or /models/out/net_int8.onnx",
            help="A folder, or the .onnx file to write, on the machine that runs QuantScope. The recipe goes "
            "beside it.",
            width=420,
            on_change=_forget,
        )
        st.button(
            "Save model and recipe",
            key="save_to",
            icon=":material/save:",
            disabled=ready is None or not path,
            on_click=_save,
            args=(now, stem, ready),
        )
        st.checkbox("Replace files that are there", key=keys.SAVE_REPLACE.name)
    said = keys.SAVED.get()
    if said.error:
        st.error(text.escape(text.sentence(said.error)), icon=":material/error:")
    elif said.words and ready is not None and said.sha256 == ready.sha256:
        st.success(text.escape(said.words), icon=":material/check_circle:")


def _forget() -> None:
    keys.SAVED.pop()


@uninterrupted
def _save(now: state.Session, stem: str, ready: Verified) -> None:
    """Write both files to the path that stands in the field now; what became of that is said below it."""
    model_name, recipe_name = exporting.file_name(stem, now.recipe), exporting.recipe_name(stem)
    source = now.project.model
    keep = Path(source.path) if source.kind == "path" else None
    try:
        model, recipe = saving.places(keys.SAVE_PATH.get(), model_name, recipe_name)
        contents = {model: ready.data, recipe: recipe_to_yaml(now.recipe).encode()}
        written = saving.save(contents, keep=keep, replace=keys.SAVE_REPLACE.get())
    except QuantScopeError as error:
        keys.SAVED.set(Saved("", str(error), ready.sha256))
        return
    did = "Saved" if written else "Both files are there already, unchanged"
    words = f"{did}: {model} ({text.size(len(ready.data))}) and {recipe.name} beside it."
    keys.SAVED.set(Saved(words, "", ready.sha256))
