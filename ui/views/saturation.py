"""What the file does in a default session where the processor saturates, and the way out."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from quantscope.core.evaluate import Comparison, DefaultSession, SaturatedLayer
from quantscope.core.targets import ANY_X86, ONNXRUNTIME_CPU, target
from quantscope.ui.components import Card, Tone, cards
from quantscope.ui.content import text
from quantscope.ui.runs import measured
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import DefaultSessionBefore
from quantscope.ui.session.memory import uninterrupted

SHOWN = 8  # layers that lose most
WHY = (
    "A default session is ONNX Runtime without special options. On this CPU, which has no VNNI, it adds "
    "pairs of products in 16 bits, and cuts off what does not fit. All other figures come from exact sums, "
    "as a default session computes on newer CPUs, and here with the session option "
    "session.x64quantprecision set to 1, which is slower."
)
REMEDY = (
    "Raises the scales of weights, channel by channel, just until no two products can saturate: a default "
    "session then gives exact results on every x86 CPU. Usually costs less than 7-bit weights do; can be "
    "undone, and Auto-tune often wins it back."
)


def choose_target(name: str) -> None:
    """Quantize for another target; for use in callbacks."""
    state.edit(lambda recipe: recipe.with_target(name), f"target {target(name).label}")


@uninterrupted
def _make_safe(project: str, words: str) -> None:
    """Quantize for any x86, and remember what a default session gave before; a callback."""
    keys.SAFE_BEFORE.set(DefaultSessionBefore(project=project, words=words))
    choose_target(ANY_X86.name)


def overview(now: state.Session, found: Comparison | None) -> None:
    """Below the cards: nothing but where a default session here gives something else."""
    if found is None or found.default is None:
        return
    if found.default.equal:
        _same(now)
        return
    with st.container(border=True):
        _different(now, found, found.default, "overview")


def export(now: state.Session, measurement: measured.Measured[Comparison]) -> None:
    """What the file does in default sessions, here and on other x86 CPUs."""
    found = measurement.value
    with st.container(border=True):
        if found is None:
            st.markdown("**In a default session**")
            st.caption("Measuring…" if measurement.running else "Not measured.")
            return
        if found.default is not None and not found.default.equal:
            _different(now, found, found.default, "export")
            return
        layers = text.plural(len(found.may_saturate), "layer")
        _head(now, "**In a default session**", "export" if found.may_saturate else "", found)
        if found.default is None:
            st.caption(":material/verified: On this CPU the same as on these pages: its sums are exact.")
        else:
            _same(now)
        st.caption(
            f"On x86 CPUs without VNNI, {layers} may saturate in a default session on some inputs."
            if found.may_saturate
            else "Its weights cannot saturate on any x86 CPU, with or without VNNI, whatever the input."
        )


def _head(now: state.Session, words: str, remedy: str, found: Comparison) -> None:
    """A heading, with the way out beside it unless `remedy`, which its button's key ends in, is empty."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(words, width="stretch")
        if remedy and now.recipe.target == ONNXRUNTIME_CPU.name:
            st.button(
                "Make it safe on any x86",
                key=f"any_x86_{remedy}",
                icon=":material/verified_user:",
                on_click=_make_safe,
                args=(now.project.id, _in_words(found.default)),
                help=REMEDY,
            )


def _in_words(default: DefaultSession | None) -> str:
    """What a default session gives, in a few words; "" where it gives the exact results."""
    if default is None or default.equal:
        return ""
    said = [text.decibel(default.output.sqnr_db)]
    if default.accuracy is not None and default.accuracy.quantized_top1 is not None:
        said.insert(0, f"{100 * default.accuracy.quantized_top1:.1f} % top-1")
    return ", ".join(said)


def _same(now: state.Session) -> None:
    before = keys.SAFE_BEFORE.get()
    words = ""
    if before is not None and before.project == now.project.id and now.recipe.target == ANY_X86.name:
        words = before.words
    st.caption(
        ":material/verified: A default session on this CPU, which has no VNNI, gives the same outputs, bit "
        "for bit, on all samples measured." + (f" Before it was made safe: {words}." if words else "")
    )


def _different(now: state.Session, found: Comparison, default: DefaultSession, key: str) -> None:
    words = (
        ":orange[:material/memory:] **A default session on this CPU gives other results** than the exact ones"
    )
    _head(now, words, key, found)
    shown = []
    if found.accuracy is not None and default.accuracy is not None:
        exact, other = found.accuracy.quantized_top1, default.accuracy.quantized_top1
        name = "Top-1 by default"
        if exact is None or other is None:
            name, exact, other = "Agreement by default", found.accuracy.agreement, default.accuracy.agreement
        points = 100 * (other - exact)
        shown.append(_card(name, f"{100 * other:.1f} %", f"exact {100 * exact:.1f} %", points, "pp"))
    if found.output.sqnr_db is not None and default.output.sqnr_db is not None:
        exact_db, other_db = found.output.sqnr_db, default.output.sqnr_db
        said = f"exact {text.decibel(exact_db)}"
        shown.append(_card("Output SQNR by default", text.decibel(other_db), said, other_db - exact_db, "dB"))
    if found.latency is not None and found.latency.default_ms is not None:
        shown.append(
            Card(
                name="Latency by default",
                value=text.milliseconds(found.latency.default_ms),
                note=f"exact {text.milliseconds(found.latency.quantized_ms)}",
            )
        )
    basis = measured.judged_basis(now)
    told = [replace(card, over=basis.words, doubt=not basis.unseen) for card in shown if card.change]
    cards([*told, *shown[len(told) :]], key=f"default_session_{key}", columns=3, flat=True)
    with st.expander("Why, and which layers lose by it"):
        st.markdown(WHY)
        _layers(default.layers)


def _card(name: str, value: str, note: str, change: float, unit: str) -> Card:
    tone: Tone = "" if abs(change) < 0.05 else "good" if change > 0 else "bad"
    return Card(name=name, value=value, change=text.change(change, unit), tone=tone, note=note)


def _layers(layers: Sequence[SaturatedLayer]) -> None:
    if not layers:
        return
    rows = [
        f"| {text.code(text.short(x.layer, 60))} | {text.percent(x.changed)} | {text.decibel(x.sqnr_db)} |"
        for x in layers[:SHOWN]
    ]
    head = ["| Layer | Values changed | SQNR against exact sums (higher is better) |", "|---|---:|---:|"]
    st.markdown("\n".join([*head, *rows]))
    if len(layers) > SHOWN:
        st.caption(f"… and {text.plural(len(layers) - SHOWN, 'more layer')} that lose less.")
