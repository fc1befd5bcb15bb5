"""Inspector: one layer's values, where its range is cut, what that costs, and what to do about it."""

from typing import Any

import streamlit as st

from core.layers import Layer
from core.quant import Range
from core.recipe import Recipe
from core.targets import Granularity, Precision, target
from core.thresholds import Method
from ui import cached, state, text
from ui.components import threshold_chart
from ui.components.payload import payload
from ui.figures.overlay import overlay_figure
from ui.figures.weights import weights_figure
from ui.tensor_view import AUTOMATIC, LABELS, TensorView, levels, view_tensor, weights
from ui.views import common, effect_panel

CHART = "threshold"
METHODS = {LABELS[method]: method for method in LABELS}
GRANULARITY = {"per channel": Granularity.PER_CHANNEL, "per tensor": Granularity.PER_TENSOR}


def render() -> None:
    """Draw the page."""
    common.notice()
    now = common.session("then this page shows each layer's values and lets you drag its range.")
    if now is None:
        return
    layer = _choose(now)
    searched = cached.keep(("searches", now.project.id, now.model.hash))
    seen = view_tensor(
        now.model,
        now.workspace.statistics,
        now.recipe,
        now.encodings,
        layer,
        searched.setdefault("by tensor", {}),
    )
    _settings(now, layer, seen)
    effect = st.container()  # drawn after the chart, which must follow a drag at once
    if seen is None or seen.histogram.count == 0:
        st.info(
            "This layer's output is not quantized for this target, so there is no range to choose. "
            "Its weights may still be: see below.",
            icon=":material/info:",
        )
    else:
        _chart(now, seen)
    with effect:
        effect_panel.render(now, layer)
    _below(now, layer, seen)


def _choose(now: state.Session) -> Layer:
    """The layer, by list or one by one."""
    layer = state.layer(now)
    names = [entry.name for entry in now.model.layers]
    place = names.index(layer.name)
    st.session_state["layer_box"] = layer.name
    ops = {entry.name: entry.op for entry in now.model.layers}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.title("Inspector", anchor=False, width="content")
        st.selectbox(
            "Layer",
            names,
            key="layer_box",
            on_change=_pick,
            label_visibility="collapsed",
            width="stretch",
            format_func=lambda name: (
                f"{names.index(name) + 1}. {text.plain(name)}  ·  {text.plain(ops[name])}"
            ),
        )
        st.button(
            "",
            icon=":material/chevron_left:",
            key="previous",
            disabled=place == 0,
            help="Previous layer",
            on_click=state.choose_layer,
            args=(names[max(place - 1, 0)],),
            shortcut="alt+left",
        )
        st.button(
            "",
            icon=":material/chevron_right:",
            key="next",
            disabled=place == len(names) - 1,
            help="Next layer",
            on_click=state.choose_layer,
            args=(names[min(place + 1, len(names) - 1)],),
            shortcut="alt+right",
        )
        owner = _owner(now)
        _similar(now, layer, owner)
        st.button(
            "Reset",
            icon=":material/restart_alt:",
            key="reset_layer",
            disabled=owner not in now.recipe.layers,
            on_click=_reset,
            args=(owner,),
            help="Back to the project's defaults",
        )
    return layer


def _pick() -> None:
    state.choose_layer(st.session_state["layer_box"])


def _settings(now: state.Session, layer: Layer, seen: TensorView | None) -> None:
    """Strategy, type and weights of the layer; every change is a step of the recipe."""
    name = seen.owner if seen is not None else layer.name
    choice = now.recipe.choice(name)
    own = now.recipe.choice(layer.name)
    assert choice.method is not None
    # Widgets follow the recipe, which undo and drags change too.
    st.session_state["method"] = LABELS[choice.method]
    st.session_state["percentile"] = float(choice.percentile or 99.99)
    st.session_state["symmetry"] = "sym" if choice.symmetric else "asym"
    st.session_state["precision"] = str(own.precision)
    st.session_state["granularity"] = next(k for k, v in GRANULARITY.items() if v is own.weights)
    if seen is not None and seen.shared:
        st.info(
            f"{text.code(layer.name)} passes its values on, so it takes over the range of "
            f"{text.code(seen.owner)}. What you set here is set there.",
            icon=":material/link:",
        )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        if seen is not None:
            st.segmented_control(
                "Strategy",
                [LABELS[m] for m in LABELS],
                key="method",
                required=True,
                on_change=_method,
                args=(name, seen.range),
                help="How the range is chosen. *Manual* keeps the present range and lets you move it; "
                "dragging a clip line does the same.",
            )
            if choice.method is Method.PERCENTILE:
                st.number_input(
                    "Share kept, %",
                    90.0,
                    100.0,
                    step=0.01,
                    format="%.3f",
                    key="percentile",
                    width=130,
                    on_change=_percentile,
                    args=(name,),
                )
            st.segmented_control(
                "Range",
                ["asym", "sym"],
                key="symmetry",
                required=True,
                on_change=_symmetry,
                args=(name,),
                help="*asym*: both ends free, nothing wasted on an empty side. *sym*: zero in the middle.",
            )
        st.segmented_control(
            "Precision",
            [str(p) for p in target(now.recipe.target).precisions],
            key="precision",
            required=True,
            on_change=_precision,
            args=(layer.name,),
            help="int16: 16-bit activations, 8-bit weights. float: this layer is not quantized.",
        )
        if layer.weight is not None:
            st.segmented_control(
                "Weights",
                list(GRANULARITY),
                key="granularity",
                required=True,
                on_change=_granularity,
                args=(layer.name,),
                help="One scale for each output channel, or one for the whole weight.",
            )


def _method(name: str, shown: Range) -> None:
    method = METHODS[st.session_state["method"]]
    more = {"range": shown} if method is Method.MANUAL else {}
    state.edit_layer(name, f"{text.short(name)}: {LABELS[method]}", method=method, **more)


def _percentile(name: str) -> None:
    share = float(st.session_state["percentile"])
    state.edit_layer(name, f"{text.short(name)}: {share:g} %", method=Method.PERCENTILE, percentile=share)


def _symmetry(name: str) -> None:
    symmetric = st.session_state["symmetry"] == "sym"
    words = "symmetric" if symmetric else "asymmetric"
    state.edit_layer(name, f"{text.short(name)}: {words}", symmetric=symmetric)


def _precision(name: str) -> None:
    value = Precision(st.session_state["precision"])
    state.edit_layer(name, f"{text.short(name)}: {value}", precision=value)


def _granularity(name: str) -> None:
    value = st.session_state["granularity"]
    state.edit_layer(name, f"{text.short(name)}: weights {value}", weights=GRANULARITY[value])


def _reset(name: str) -> None:
    state.edit(lambda recipe: recipe.without_layer(name), f"{text.short(name)}: defaults")


def _similar(now: state.Session, layer: Layer, name: str) -> None:
    """Give this layer's settings to others."""
    same = [e.name for e in now.model.layers if e.op == layer.op and e.name != name]
    computed = [e.name for e in now.model.layers if e.name != name]
    with st.popover("Apply to…", icon=":material/content_copy:", key="similar", disabled=not computed):
        st.caption("Strategy, symmetry, precision and weights of this layer; a manual range is not copied.")
        st.button(
            f"{len(same)} other {text.escape(layer.op)}",
            key="apply_same",
            disabled=not same,
            width="stretch",
            on_click=_copy,
            args=(name, tuple(same)),
        )
        st.button(
            f"all {len(computed)} other layers",
            key="apply_all",
            width="stretch",
            on_click=_copy,
            args=(name, tuple(computed)),
        )


def _copy(name: str, others: tuple[str, ...]) -> None:
    def change(recipe: Recipe) -> Recipe:
        choice = recipe.choice(name)
        given: dict[str, Any] = {
            "symmetric": choice.symmetric,
            "precision": choice.precision,
            "weights": choice.weights,
        }
        if choice.method is not Method.MANUAL:
            given |= {"method": choice.method, "percentile": choice.percentile}
        for other in others:
            recipe = recipe.with_layer(other, **given)
        return recipe

    state.edit(change, f"as {text.short(name)} for {text.plural(len(others), 'layer')}")


def _chart(now: state.Session, seen: TensorView) -> None:
    if not seen.quantized:
        st.info("This output stays float; the chart shows what int8 would do to it.", icon=":material/info:")
    data = payload(
        seen,
        seq=st.session_state.get("drag_seq", 0),
        token=state.recipe_token(now.recipe),
        readonly=not seen.quantized,
    )
    threshold_chart(data, key=CHART, on_edit=_dragged, on_use=_use)


def _dragged() -> None:
    """A clip line was moved; a callback."""
    said = st.session_state[CHART].edit
    now = state.session()
    if said is None or now is None:
        return
    st.session_state["drag_seq"] = int(said["seq"])
    name = _owner(now)
    range_ = Range(float(said["low"]), float(said["high"]))
    words = f"{text.number(range_.low, 3)} … {text.number(range_.high, 3)}"
    state.edit_layer(name, f"{text.short(name)}: {words}", method=Method.MANUAL, range=range_)


def _use() -> None:
    """A method's mark was clicked; a callback."""
    said = st.session_state[CHART].use
    now = state.session()
    if said is not None and now is not None and said["method"] in {m.value for m in AUTOMATIC}:
        name, method = _owner(now), Method(said["method"])
        state.edit_layer(name, f"{text.short(name)}: {LABELS[method]}", method=method)


def _owner(now: state.Session) -> str:
    """The layer whose choice sets the range of the shown one."""
    layer = state.layer(now)
    tensor = now.encodings.placement.sources.get(layer.output, layer.output)
    owner = now.encodings.placement.tensors.get(tensor)
    return owner if owner is not None else layer.name


def _below(now: state.Session, layer: Layer, seen: TensorView | None) -> None:
    """What is looked at less often; only the chosen part is drawn."""
    found = weights(now.model, now.encodings, layer)
    parts = ["Before and after", "Methods", "Exact range"] if seen is not None else []
    parts += ["Weights"] if found is not None else []
    parts += ["Facts"]
    if st.session_state.get("part") not in parts:
        st.session_state["part"] = parts[0]
    with st.container(border=True):
        part = st.segmented_control("Details", parts, key="part", required=True, label_visibility="collapsed")
        if part == "Before and after" and seen is not None:
            st.plotly_chart(overlay_figure(levels(seen)), key="overlay", config={"displayModeBar": False})
        elif part == "Methods" and seen is not None:
            _methods(seen)
        elif part == "Exact range" and seen is not None:
            _exact_range(seen)
        elif part == "Weights" and found is not None:
            st.caption(
                f"{text.code(found.name)} · {'×'.join(map(str, found.shape))} · "
                f"{'one scale a channel' if found.per_channel else 'one scale for all channels'} · "
                f"widest channel {found.spread:.1f} times the median"
            )
            st.plotly_chart(weights_figure(found), key="weights", config={"displayModeBar": False})
        else:
            _facts(now, layer, seen)


def _methods(seen: TensorView) -> None:
    st.caption(
        "What every method would choose for this tensor, and what it costs there; "
        "the network may see it otherwise."
    )
    best = max(e.sqnr_db for e in seen.errors.values())
    for method in AUTOMATIC:
        found, error = seen.searches[method], seen.errors[method]
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            st.button(
                LABELS[method],
                key=f"use_{method}",
                width=110,
                on_click=_use_named,
                args=(seen.owner, method),
                type="primary" if seen.choice.method is method else "secondary",
            )
            st.markdown(
                f"**{text.number(found.range.low)} … {text.number(found.range.high)}**"
                + ("  :green-badge[best SQNR]" if error.sqnr_db == best else ""),
                width=250,
            )
            st.markdown(
                f"{text.decibel(error.sqnr_db)} · cosine {text.cosine(error.cosine)} · "
                f"{text.percent(error.clipped_share, 3)} clipped",
                width=300,
            )
            st.caption(text.escape(found.reason), width="stretch")


def _use_named(name: str, method: Method) -> None:
    state.edit_layer(name, f"{text.short(name)}: {LABELS[method]}", method=method)


def _exact_range(seen: TensorView) -> None:
    with st.form("exact_range", border=False):
        left, right, button = st.columns([2, 2, 1], vertical_alignment="bottom")
        low = left.number_input("Low", value=float(seen.range.low), format="%.6g", max_value=0.0)
        high = right.number_input("High", value=float(seen.range.high), format="%.6g", min_value=0.0)
        if button.form_submit_button("Set", width="stretch"):
            words = f"{text.number(low, 3)} … {text.number(high, 3)}"
            state.edit_layer(
                seen.owner, f"{text.short(seen.owner)}: {words}", method=Method.MANUAL, range=Range(low, high)
            )
            st.rerun()


def _facts(now: state.Session, layer: Layer, seen: TensorView | None) -> None:
    lines = [
        f"Operators: {text.escape(' + '.join(layer.ops))}",
        f"Output: {text.code(layer.output)}, {text.escape(' × '.join(map(str, layer.shape or ('?',))))}",
        "Reads: " + (", ".join(text.code(name) for name in layer.inputs) or "nothing"),
    ]
    if seen is not None:
        h = seen.histogram
        samples = now.workspace.statistics.samples
        lines += [
            f"Values: {h.count:,} in {text.plural(samples, 'sample')}; exact zeros "
            f"{text.percent(h.zeros / max(1, h.count))}; bins of {text.number(h.width)}",
            f"Smallest {text.number(h.min, 6)}, set by sample {h.min_sample}; "
            f"largest {text.number(h.max, 6)}, set by sample {h.max_sample} (counted from 0)",
        ]
        if seen.reason:
            lines.append(f"Why this range: {text.escape(seen.reason)}")
        lines += [text.escape(remark) for remark in seen.remarks]
    st.markdown("\n".join(f"- {line}" for line in lines))
