"""Below the Inspector's chart: before and after, methods, exact numbers, weights and facts."""

import streamlit as st

from quantscope.core.model import Layer
from quantscope.core.quant import Range
from quantscope.core.thresholds import AUTOMATIC, Method
from quantscope.ui.content import text
from quantscope.ui.content.method_words import WEIGHT_LABELS
from quantscope.ui.content.tensor_view import LABELS, TensorView, Weights, levels, weights
from quantscope.ui.figures.overlay import overlay_figure
from quantscope.ui.figures.weights import weights_figure
from quantscope.ui.runs import first_layer
from quantscope.ui.session import keys, state
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import common, easyquant_layer, tools

TOOLS = "Why do tools disagree?"
WEIGHT_METHODS = {label: method for method, label in WEIGHT_LABELS.items()}


def render(now: state.Session, layer: Layer, view: TensorView | None) -> None:
    """Draw the chosen part, and only that."""
    found = weights(now.model, now.encodings, layer)
    parts = ["Before and after", "Methods", TOOLS, "Grids", "Exact range"] if view is not None else []
    parts += ["Layer output"]
    parts += ["Weights"] if found is not None else []
    parts += ["Facts"]
    if keys.DETAILS.get() not in parts:
        keys.DETAILS.set(parts[0])
    with st.container(border=True):
        part = st.segmented_control(
            "Details", parts, key=keys.DETAILS.name, required=True, label_visibility="collapsed"
        )
        if part == "Before and after" and view is not None:
            st.plotly_chart(overlay_figure(levels(view)), key="overlay", config={"displayModeBar": False})
        elif part == "Methods" and view is not None:
            _methods(view)
        elif part == TOOLS and view is not None:
            tools.inspector(now, view, _use_range)
        elif part == "Grids" and view is not None:
            tools.grids(view, key="grids")
        elif part == "Layer output":
            easyquant_layer.render(now, layer)
        elif part == "Exact range" and view is not None:
            _exact_range(view)
        elif part == "Weights" and found is not None:
            _weights(now, layer, found)
        else:
            _facts(now, layer, view)


def _methods(view: TensorView) -> None:
    st.caption(
        "What every method would choose for this tensor, and what it costs there; "
        "the network may see it otherwise."
    )
    best = max(e.sqnr_db for e in view.errors.values())
    for method in AUTOMATIC:
        found, error = view.searches[method], view.errors[method]
        with st.container(horizontal=True, vertical_alignment="center", wrap=False):
            st.button(
                LABELS[method],
                key=f"use_{method}",
                width=110,
                on_click=_use_named,
                args=(view.owner, method),
                type="primary" if view.choice.method is method else "secondary",
            )
            st.markdown(
                f"**{text.number(found.range.low)} … {text.number(found.range.high)}**"
                + ("  :green-badge[best SQNR]" if error.sqnr_db == best else ""),
                width=230,
            )
            st.markdown(
                f"{text.decibel(error.sqnr_db)} · cosine {text.cosine(error.cosine)} · "
                f"{text.percent(error.clipped_share, 3)} clipped",
                width=310,
            )
            st.caption(text.escape(found.reason), width="stretch")


def _use_named(name: str, method: Method) -> None:
    state.edit_layer(name, f"{text.short(name)}: {LABELS[method]}", method=method)


@uninterrupted
def _use_range(label: str, low: float, high: float) -> None:
    """A range of the table is to be used; a callback."""
    now = state.session()
    if now is not None:
        use_range(owner(now), label, low, high)


def use_range(name: str, label: str, low: float, high: float) -> None:
    """Set a layer to a range of another tool; for use in callbacks."""
    state.edit_layer(
        name, f"{text.short(name)}: range of {label}", method=Method.MANUAL, range=Range(low, high)
    )


def owner(now: state.Session) -> str:
    """The layer whose choice sets the range of the shown one."""
    layer = first_layer.shown(now)
    tensor = now.encodings.placement.sources.get(layer.output, layer.output)
    found = now.encodings.placement.tensors.get(tensor)
    return found if found is not None else layer.name


def _exact_range(view: TensorView) -> None:
    with st.form("exact_range", border=False):
        left, right, button = st.columns([2, 2, 1], vertical_alignment="bottom")
        low = left.number_input("Low", value=float(view.asked.low), format="%.6g", max_value=0.0)
        high = right.number_input("High", value=float(view.asked.high), format="%.6g", min_value=0.0)
        if button.form_submit_button("Set", width="stretch"):
            words = f"{text.number(low, 3)} … {text.number(high, 3)}"
            state.edit_layer(
                view.owner, f"{text.short(view.owner)}: {words}", method=Method.MANUAL, range=Range(low, high)
            )
            st.rerun()


def _facts(now: state.Session, layer: Layer, view: TensorView | None) -> None:
    lines = [
        f"Operators: {text.escape(' + '.join(layer.ops))}",
        f"Output: {text.code(layer.output)}, {text.escape(text.dims(layer.shape))}",
        "Reads: " + (", ".join(text.code(name) for name in layer.inputs) or "nothing"),
    ]
    if view is not None:
        h = view.histogram
        samples = now.workspace.statistics.samples
        lines += [
            f"Values: {h.count:,} in {text.plural(samples, 'sample')}; exact zeros "
            f"{text.percent(h.zeros / max(1, h.count))}; bins of {text.number(h.width)}",
            f"Smallest {text.number(h.min, 6)}, set by sample {h.min_sample}; "
            f"largest {text.number(h.max, 6)}, set by sample {h.max_sample} (counted from 0)",
        ]
        if view.reason:
            lines.append(f"Why this range: {text.escape(view.reason)}")
        lines += [text.escape(remark) for remark in view.remarks]
    st.markdown("\n".join(f"- {line}" for line in lines))


def _weights(now: state.Session, layer: Layer, found: Weights) -> None:
    method = now.recipe.choice(layer.name).weight_method
    shown = next((label for label, value in WEIGHT_METHODS.items() if value is method), "MinMax")
    key, first = common.follow("weight_method", shown)
    st.segmented_control(
        "Range of the weights",
        list(WEIGHT_METHODS),
        default=first,
        key=key,
        required=True,
        on_change=common.changed,
        args=(key, _weight_method, layer.name),
        help="*MinMax*: nothing is clipped. *MSE*: least squared error. "
        "*Percentile*: the farthest are clipped.",
    )
    granularity = "one scale a channel" if found.per_channel else "one scale for all channels"
    st.caption(
        f"{text.code(found.name)} · {'×'.join(map(str, found.shape))} · {granularity} · "
        f"widest channel {found.spread:.1f} times the median"
    )
    st.plotly_chart(weights_figure(found), key="weights", config={"displayModeBar": False})


def _weight_method(label: str, name: str) -> None:
    state.edit_layer(name, f"{text.short(name)}: weights {label}", weight_method=WEIGHT_METHODS[label])
