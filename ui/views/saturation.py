"""What the file does in a default session where the processor saturates, and the way out."""

from collections.abc import Sequence

import streamlit as st

from core.evaluate import Comparison, DefaultSession, SaturatedLayer
from core.targets import ANY_X86, ONNXRUNTIME_CPU, target
from ui import state, text
from ui.components import Card, cards

SHOWN = 8  # layers that lose most
WHY = (
    "This CPU has no VNNI: a default ONNX Runtime session adds pairs of products in 16 bits here, and cuts "
    "off what does not fit. All other figures come from exact sums, as such a session computes on newer "
    "CPUs, and here with the session option `session.x64quantprecision` set to `1`, which is slower."
)
REMEDY = (
    "Raises the scales of weights, channel by channel, just until no two products can saturate: a default "
    "session then gives exact results on every x86 CPU. Costs less than 7-bit weights do; can be undone."
)


def choose_target(name: str) -> None:
    """Quantize for another target; for use in callbacks."""
    state.edit(lambda recipe: recipe.with_target(name), f"target {target(name).label}")


def overview(now: state.Session, found: Comparison | None) -> None:
    """Below the cards: nothing but where a default session here gives something else."""
    if found is None or found.default is None:
        return
    if found.default.equal:
        _same()
        return
    with st.container(border=True):
        _different(now, found, found.default, "overview")


def export(now: state.Session, live: state.Live) -> None:
    """What the file does in default sessions, here and on other x86 CPUs."""
    found: Comparison | None = live.value
    with st.container(border=True):
        if found is None:
            st.markdown("**In a default session**")
            st.caption("Measuring…" if live.running else "Not measured.")
            return
        if found.default is not None and not found.default.equal:
            _different(now, found, found.default, "export")
            return
        layers = text.plural(len(found.may_saturate), "layer")
        _head(now, "**In a default session**", "export" if found.may_saturate else "")
        if found.default is None:
            st.caption(":material/verified: On this CPU the same as on these pages: its sums are exact.")
        else:
            _same()
        st.caption(
            f"On x86 CPUs without VNNI, {layers} may saturate in a default session on some inputs."
            if found.may_saturate
            else "Its weights cannot saturate on any x86 CPU, with or without VNNI, whatever the input."
        )


def _head(now: state.Session, words: str, remedy: str) -> None:
    """A heading, with the way out beside it unless `remedy`, which its button's key ends in, is empty."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(words, width="stretch")
        if remedy and now.recipe.target == ONNXRUNTIME_CPU.name:
            st.button(
                "Make it safe on any x86",
                key=f"any_x86_{remedy}",
                icon=":material/verified_user:",
                on_click=choose_target,
                args=(ANY_X86.name,),
                help=REMEDY,
            )


def _same() -> None:
    st.caption(
        ":material/verified: A default session on this CPU, which has no VNNI, gives the same outputs, bit "
        "for bit, on all samples measured."
    )


def _different(now: state.Session, found: Comparison, default: DefaultSession, key: str) -> None:
    words = (
        ":orange[:material/memory:] **A default session on this CPU gives other results** than the exact ones"
    )
    _head(now, words, key)
    shown = []
    if found.accuracy is not None and default.accuracy is not None:
        exact, other = found.accuracy.quantized_top1, default.accuracy.quantized_top1
        name = "Top-1"
        if exact is None or other is None:
            name, exact, other = "Agreement", found.accuracy.agreement, default.accuracy.agreement
        points = 100 * (other - exact)
        shown.append(_card(name, f"{100 * other:.1f} %", f"exact {100 * exact:.1f} %", points, "pp"))
    if found.output.sqnr_db is not None and default.output.sqnr_db is not None:
        exact_db, other_db = found.output.sqnr_db, default.output.sqnr_db
        said = f"exact {text.decibel(exact_db)}"
        shown.append(_card("Output SQNR", text.decibel(other_db), said, other_db - exact_db, "dB"))
    if found.latency is not None and found.latency.default_ms is not None:
        shown.append(
            Card(
                name="Latency",
                value=f"{found.latency.default_ms:#.3g} ms".replace(". ", " "),
                note=f"exact {found.latency.quantized_ms:#.3g} ms".replace(". ", " "),
                tip="Median of one sample on one thread, in a default session.",
            )
        )
    cards(shown, key=f"default_session_{key}", columns=3, flat=True)
    with st.expander("Why, and which layers lose by it"):
        st.caption(WHY)
        _layers(default.layers)


def _card(name: str, value: str, note: str, change: float, unit: str) -> Card:
    tone = "" if abs(change) < 0.05 else "good" if change > 0 else "bad"
    return Card(name=name, value=value, change=text.change(change, unit), tone=tone, note=note)


def _layers(layers: Sequence[SaturatedLayer]) -> None:
    if not layers:
        return
    said = [
        f"- {text.code(text.short(item.layer, 60))}: {text.decibel(item.sqnr_db)} against exact sums; "
        f"{text.percent(item.changed)} of its values change"
        for item in layers[:SHOWN]
    ]
    more = [f"- … and {text.plural(len(layers) - SHOWN, 'more layer')}"] if len(layers) > SHOWN else []
    st.markdown("\n".join([*said, *more]))
