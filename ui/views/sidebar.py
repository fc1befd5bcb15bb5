"""The sidebar: what is open, undo and redo, and that everything is saved."""

import streamlit as st

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Project
from quantscope.core.project import project as projects
from quantscope.core.runtime import integer_sums
from quantscope.core.targets import target
from quantscope.ui.components.refresh import glance, listen, signal
from quantscope.ui.content import text
from quantscope.ui.session import keys, others, state
from quantscope.ui.session.keys import Page
from quantscope.ui.views import common, evaluation

GLANCE = 4.0  # seconds between two looks at what others did; tabs of one browser tell each other at once


def _processor() -> None:
    """What integer kernels do on this machine."""
    if integer_sums().saturates:
        st.caption(
            "CPU without VNNI",
            help="A default ONNX Runtime session adds pairs of products in 16 bits on this CPU, and cuts off "
            "what does not fit. The figures here come from exact sums; Overview and Export tell what a "
            "default session does. `quantscope doctor` says more of this machine.",
        )


@st.fragment
@common.guarded
def _others() -> None:
    """Draw the page anew where a window elsewhere, or a program, went on with the project."""
    if (there := others.changed()) is not None:
        signal("step", there)
    glance("step", GLANCE)


@common.guarded
def render() -> None:
    """Draw it below the pages' links."""
    opened = state.project()
    with st.sidebar:
        listen(opened.id, others.step_token(opened)) if opened is not None else listen()
    if opened is None:
        return
    with st.sidebar:
        _others()
    if state.looked_at(opened):
        with st.sidebar:
            st.markdown(f"**{text.escape(opened.name)}**")
            st.caption("Quantized already: read-only")
        return
    try:
        ready = state.session()
    except QuantScopeError:
        ready = None  # said on the page; undo must stay within reach
    with st.sidebar:
        st.markdown(f"**{text.escape(opened.name)}**")
        _steps(opened, ready)
        if ready is not None:
            _facts(ready)
            evaluation.offer(opened)
            _processor()


def _facts(ready: state.Session) -> None:
    """What is open, in a few lines."""
    model, statistics = ready.model, ready.workspace.statistics
    computed = sum(layer.kind == "compute" for layer in model.layers)
    layers, samples = text.plural(computed, "layer"), text.plural(statistics.samples, "sample")
    st.caption(
        f"Model: {layers}, {text.size(model.size_bytes)}, opset {model.opset}  \n"
        f"Data: {samples}, {text.escape(statistics.data_source)}  \n{evaluation.words(ready)}"
        f"Target: {text.escape(target(ready.recipe.target).label)}"
    )


def _steps(opened: Project, ready: state.Session | None) -> None:
    """Undo and redo, and that the shown step is saved: within reach on small screens too."""
    with st.container(horizontal=True, gap="small", wrap=False):
        st.button(
            "",
            icon=":material/undo:",
            on_click=state.undo,
            disabled=not opened.can_undo,
            key="undo",
            shortcut="mod+z",
            width="stretch",
            help="Undo",
        )
        st.button(
            "",
            icon=":material/redo:",
            on_click=state.redo,
            disabled=not opened.can_redo,
            key="redo",
            shortcut="mod+y",
            width="stretch",
            help="Redo",
        )
    try:
        step = projects.read_step(opened) if opened.head and ready is not None else None
    except QuantScopeError:
        step = None
    if step is not None:
        label = text.escape(step.label).replace(" … ", "\u00a0…\u00a0")  # a range stays on one line
        with st.container(horizontal=True, gap="small", wrap=False):
            st.caption(
                f":material/check_circle: Saved · step {opened.head}: {label}",
                width="stretch",
            )
            st.button(
                "",
                icon=":material/history:",
                key="open_history",
                type="tertiary",
                help="History: every step, with its figures",
                on_click=_to_history,
            )


def _to_history() -> None:
    keys.GO.set(Page.HISTORY)
