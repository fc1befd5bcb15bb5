"""One of the layers to look at first: what it costs, why, and the change that helps, with its button."""

import math

import streamlit as st

from quantscope.core.tuning import Remedy
from quantscope.ui.content import text
from quantscope.ui.content.diagnosis import Diagnosis, slower
from quantscope.ui.runs import advice, measured
from quantscope.ui.runs.advice import Advice, Tried
from quantscope.ui.runs.measured import Measured
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page

PROMISING_DB = 3.0  # for a layer that does not stand out, where nothing is measured at the output
NO_REMEDY = "No change of this layer alone is known to help. Auto-tune looks at all layers together."
LITTLE = "It does not stand out, and nothing tried that keeps it in 8 bits wins half a decibel at the output."
NOT_WORTH = "Nothing tried for this layer alone wins half a decibel at the output. Auto-tune looks further."


def first_layer(now: state.Session, entry: Diagnosis, tried: Measured[Advice]) -> None:
    """Draw it into the container at hand."""
    advised = None if tried.value is None else tried.value.get(entry.name)
    found = None if advised is None else advised.tried
    chosen = None if found is None else advice.best(found, flagged=entry.flagged)
    reason = advised.causes[0].sentence if advised is not None and advised.causes else entry.reason
    with st.container():
        st.markdown(text.code(text.short(entry.name, 36)))
        st.caption(f"{text.escape(entry.op)} · {text.escape(entry.cost)}")
        st.markdown(text.escape(reason))
        st.markdown(f":material/lightbulb: {_words(now, entry, tried, found, chosen)}")
    remedy = _offered(entry, tried, found, chosen)
    with st.container(horizontal=True):
        if remedy is not None:
            st.button(
                "Use it",
                key=f"apply_{entry.name}",
                icon=":material/healing:",
                on_click=_apply,
                args=(remedy,),
                help=f"{text.escape(remedy.label)}: one step, which undo takes back.",
            )
        st.button(
            "Inspect",
            key=f"worst_{entry.name}",
            icon=":material/tune:",
            on_click=_inspect,
            args=(entry.name,),
        )


def _words(
    now: state.Session,
    entry: Diagnosis,
    tried: Measured[Advice],
    found: tuple[Tried, ...] | None,
    chosen: Tried | None,
) -> str:
    if tried.running:
        return "Measuring what helps…"
    if chosen is not None:
        price = f" {chosen.remedy.price[:1].upper()}{chosen.remedy.price[1:]}." if chosen.remedy.price else ""
        return (
            f"**{text.escape(chosen.remedy.label)}**: {text.escape(chosen.words)}, measured on "
            f"{measured.preview_samples(now)}.{text.escape(price)}"
        )
    if found:
        return NOT_WORTH if entry.flagged else LITTLE
    remedy = _predicted(entry)
    if remedy is None or found is not None:
        return NO_REMEDY if entry.flagged else LITTLE
    gain = "nothing is lost" if math.isinf(remedy.gain_db) else text.change(remedy.gain_db)
    name = text.escape(remedy.label)
    return f"**{name}**: {gain} for this layer alone, predicted; not measured at the output."


def _offered(
    entry: Diagnosis, tried: Measured[Advice], found: tuple[Tried, ...] | None, chosen: Tried | None
) -> Remedy | None:
    """What the button does; nothing while it is being found out, and where nothing helps."""
    if chosen is not None:
        return chosen.remedy
    return _predicted(entry) if found is None and not tried.running else None


def _predicted(entry: Diagnosis) -> Remedy | None:
    """What promises most for the layer itself."""
    offered = entry.remedies
    if not entry.flagged:
        offered = tuple(r for r in offered if not slower(r) and r.gain_db >= PROMISING_DB)
    return offered[0] if offered else None


def _apply(remedy: Remedy) -> None:
    """A callback."""
    state.edit(remedy.applied, remedy.label if remedy.fix else f"{text.short(remedy.layer)}: {remedy.label}")


def _inspect(name: str) -> None:
    """A callback."""
    state.choose_layer(name)
    keys.GO.set(Page.INSPECTOR)
