"""How samples are drawn, for the user to change: what inputs and outputs are, and the names of classes."""

from dataclasses import replace
from typing import Literal, TypeVar

import streamlit as st

from quantscope.core.errors import QuantScopeError
from quantscope.ui.content import text
from quantscope.ui.content.sample_kinds import (
    Drawing,
    InputDrawing,
    InputKind,
    Layout,
    OutputKind,
    PixelRange,
)
from quantscope.ui.runs import by_sample_files
from quantscope.ui.runs.by_sample import Guess, Wanted
from quantscope.ui.session import keys
from quantscope.ui.session.memory import uninterrupted

T = TypeVar("T")
WIDE = (OutputKind.CLASS_MAP, OutputKind.BOXES, OutputKind.IMAGE, OutputKind.MAP)  # take several pictures


def popover(wanted: Wanted, drawing: Drawing, guess: Guess) -> None:
    """The button that opens all of it."""
    with st.popover("Drawn as…", icon=":material/palette:"):
        st.caption("What inputs and outputs are was guessed from shapes and values.")
        changed, project = drawing, wanted.now.project.id
        for name, one in drawing.inputs.items():
            changed = replace(changed, inputs={**changed.inputs, name: _input(project, name, one)})
        for name, kind in drawing.outputs.items():
            changed = replace(changed, outputs={**changed.outputs, name: _output(project, name, kind, guess)})
        if changed != drawing and _kept(wanted, changed):
            st.rerun()
        if drawing != guess.drawing:
            st.button(
                "As guessed",
                key="drawn_as_guessed",
                icon=":material/undo:",
                on_click=_as_guessed,
                args=(wanted, guess),
            )
        tokens = any(one.kind is InputKind.TOKENS for one in changed.inputs.values())
        _names(wanted, by_sample_files.CLASS_NAMES, "Names of classes")
        if tokens:
            _names(wanted, by_sample_files.TOKEN_NAMES, "Vocabulary of tokens")


def _kept(wanted: Wanted, drawing: Drawing) -> bool:
    """Keep it with the project; what prevents that is said."""
    try:
        by_sample_files.keep_drawing(wanted.now, drawing)
    except QuantScopeError as error:
        st.error(text.escape(text.sentence(str(error))), icon=":material/error:")
        return False
    return True


@uninterrupted
def _as_guessed(wanted: Wanted, guess: Guess) -> None:
    """A callback."""
    try:
        by_sample_files.keep_drawing(wanted.now, guess.drawing)
    except QuantScopeError as error:
        keys.NOTICE.set(str(error))
    for name in (*guess.drawing.inputs, *guess.drawing.outputs):
        for what in ("kind", "layout", "range", "bgr", "output"):
            keys.drawn_as(f"{what}_{wanted.now.project.id}_{name}").pop()


def _input(project: str, name: str, one: InputDrawing) -> InputDrawing:
    key = f"{project}_{name}"
    kind = _choose(f"Input {text.escape(text.short(name, 30))}", list(InputKind), one.kind, f"kind_{key}")
    changed = replace(one, kind=kind)
    if kind is not InputKind.IMAGE:
        return changed
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layout = _choose("Layout", list(Layout), one.layout, f"layout_{key}", 180)
        pixels = _choose("Black and white", list(PixelRange), one.range, f"range_{key}", 250)
        bgr = st.toggle(
            "Blue first",
            value=one.bgr,
            key=keys.drawn_as(f"bgr_{key}").name,
            help="Channels are BGR, not RGB.",
        )
    return replace(changed, layout=layout, range=pixels, bgr=bgr)


def _output(project: str, name: str, kind: OutputKind, guess: Guess) -> OutputKind:
    boxes = guess.head is not None and name in guess.head.outputs
    offered = [one for one in OutputKind if one is not OutputKind.BOXES or boxes]
    return _choose(f"Output {text.escape(text.short(name, 30))}", offered, kind, f"output_{project}_{name}")


def _choose(
    label: str, offered: list[T], value: T, key: str, width: int | Literal["stretch"] = "stretch"
) -> T:
    """A choice that begins with what is drawn now."""
    chosen: T | None = st.selectbox(
        label, offered, index=offered.index(value), key=keys.drawn_as(key).name, width=width
    )
    return value if chosen is None else chosen


def _names(wanted: Wanted, which: str, label: str) -> None:
    given = st.file_uploader(
        label,
        type=["txt", "json"],
        key=f"names_{which}",
        help="A tokenizer.json, a JSON object or list, or a text file with one name in each line.",
    )
    loaded = keys.names_loaded(which)
    if given is not None and given.file_id != loaded.get():
        try:
            by_sample_files.keep_names(wanted.now, which, given.getvalue(), given.name)
            loaded.set(given.file_id)
        except QuantScopeError as error:
            st.error(text.escape(text.sentence(str(error))), icon=":material/error:")
    if by_sample_files.were_given(wanted.now, which):
        st.button(
            "Forget them",
            key=f"names_forget_{which}",
            icon=":material/delete:",
            type="tertiary",
            on_click=by_sample_files.forget_names,
            args=(wanted.now, which),
        )
