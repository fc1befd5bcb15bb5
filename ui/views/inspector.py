"""Inspector: one layer's values, where its range is cut, what that costs, and what to do about it."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from quantscope.core.model import Layer
from quantscope.core.quant import Range, ScaleRule
from quantscope.core.recipe import Choice, ChoiceChanges, Recipe
from quantscope.core.targets import Granularity, Precision, target
from quantscope.core.thresholds import AUTOMATIC, Method
from quantscope.ui.components import tensor_figures, threshold, threshold_chart
from quantscope.ui.components.payload import payload
from quantscope.ui.content import text
from quantscope.ui.content.kept_float import why_no_range
from quantscope.ui.content.tensor_view import LABELS, RULES, Searched, TensorView, view_tensor
from quantscope.ui.runs import first_layer, held_range, tensor_before
from quantscope.ui.session import cached, keys, state
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import common, details, effect_panel, tools

METHODS = {LABELS[method]: method for method in LABELS}
SCALES = {label: rule for rule, label in RULES.items()}
SCALES_HELP = (
    "Of the output and of the layer's weights. *2ᵏ*: powers of two only, for chips that shift instead of "
    "multiplying; the range gives way to what such a scale spans. *Next larger* clips nothing more, "
    "*nearest* is closest to the scale asked for, *least MSE* goes up or down as it costs the values less."
)
STRATEGY_WIDTH = 270  # pixels: its longest label, and beside it all controls of a layer at 1280
GRANULARITY = {"channel": Granularity.PER_CHANNEL, "tensor": Granularity.PER_TENSOR}


def render() -> None:
    """Draw the page."""
    common.notice()
    now = common.session("then this page shows each layer's values and lets you drag its range.")
    if now is None:
        return
    layer = _choose(now, first_layer.shown(now))
    view = view_tensor(
        now.model,
        now.workspace.statistics,
        now.recipe,
        now.encodings,
        layer,
        cached.of_project(now.project.id, Searched, now.model.hash),
    )
    ranged = view is not None and view.histogram.count > 0
    _settings(now, layer, view)
    row = _figures_row(tensor=ranged)
    if view is not None and ranged:
        _chart(now, view)
    with row:  # filled after the chart, which must follow a drag at once
        effect_panel.render(now, layer)
    details.render(now, layer, view)


def _figures_row(*, tensor: bool) -> DeltaGenerator:
    """The row that stays on the screen: the tensor's figures, and a place for the network's."""
    with st.container(key="figures_row"):
        if not tensor:
            return st.container()
        own, network = st.columns([1.42, 1], gap="small")
        with own:
            tensor_figures(key="tensor_figures")
        return network.container()


def _choose(now: state.Session, layer: Layer) -> Layer:
    """The layer, by list or one by one; at first the one given."""
    names = [entry.name for entry in now.model.layers]
    index = names.index(layer.name)
    key, first = common.follow("layer_box", layer.name)
    labels = {
        entry.name: f"{number}. {text.plain(entry.name)}  ·  {text.plain(entry.op)}"
        for number, entry in enumerate(now.model.layers, 1)
    }
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="inspector_head"):
        st.title("Inspector", anchor=False, width="content")
        st.selectbox(
            "Layer",
            names,
            index=names.index(first),
            key=key,
            on_change=common.changed,
            args=(key, state.choose_layer),
            label_visibility="collapsed",
            width="stretch",
            format_func=lambda name: labels.get(name, name),
        )
        st.button(
            "",
            icon=":material/chevron_left:",
            key="previous",
            disabled=index == 0,
            help="Previous layer",
            on_click=state.choose_layer,
            args=(names[max(index - 1, 0)],),
            shortcut="alt+left",
        )
        st.button(
            "",
            icon=":material/chevron_right:",
            key="next",
            disabled=index == len(names) - 1,
            help="Next layer",
            on_click=state.choose_layer,
            args=(names[min(index + 1, len(names) - 1)],),
            shortcut="alt+right",
        )
        owner = details.owner(now)
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


def _settings(now: state.Session, layer: Layer, view: TensorView | None) -> None:
    """Strategy, type and weights of the layer; every change is a step of the recipe.

    What would change nothing is not offered: a layer that stays in float whatever is set has no controls.
    """
    name = view.owner if view is not None else layer.name
    choice = now.recipe.choice(name)
    if view is not None and view.shared:
        st.info(
            f"{text.code(layer.name)} passes its values on, so it takes over the range of "
            f"{text.code(view.owner)}. What you set here is set there.",
            icon=":material/link:",
        )
    why = why_no_range(layer, now.recipe, now.encodings)
    if why:
        st.info(why, icon=":material/info:")
    ranged = view is not None and view.quantized
    weighted = any(entry.layer == layer.name for entry in now.encodings.placement.weights.values())
    chosen = now.recipe.choice(layer.name).precision is Precision.FLOAT
    kept = view is not None and layer.output in now.encodings.kept_float
    if not (ranged or weighted or chosen or kept):
        return
    with st.container(horizontal=True, vertical_alignment="top", gap="xsmall", key="inspector_settings"):
        if view is not None and (ranged or kept):  # a range set by hand quantizes what would stay in float
            _range_settings(name, choice, view.asked, kept=kept)
        if not kept:
            _grid_settings(now, layer, name, ranged=ranged or weighted, weighted=weighted)
        if view is not None and choice.method is Method.PERCENTILE and ranged:
            _share_setting(name, choice)


def _range_settings(name: str, choice: Choice, shown: Range, *, kept: bool) -> None:
    """How the range of the values is chosen."""
    assert choice.method is not None  # the recipe fills it in
    key, first = common.follow("method", LABELS[choice.method])
    st.selectbox(
        "Strategy",
        list(METHODS),
        index=None if kept else list(METHODS).index(first),
        placeholder="float: no range",
        key=key,
        width=STRATEGY_WIDTH,
        format_func=lambda label: f"{label} · {METHODS[label].facts.phrase}",
        on_change=common.changed,
        args=(key, _method, name, shown),
        help="How the range is chosen; the flags above the histogram do the same by a click. "
        "*Manual* keeps the present range and lets you move it; so does dragging a clip line.",
    )
    if kept:
        return
    key, first = common.follow("symmetry", "sym" if choice.symmetric else "asym")
    st.segmented_control(
        "Range",
        ["asym", "sym"],
        default=first,
        key=key,
        required=True,
        on_change=common.changed,
        args=(key, _symmetry, name),
        help="*asym*: both ends free, nothing wasted on an empty side. *sym*: zero in the middle.",
    )


def _share_setting(name: str, choice: Choice) -> None:
    """The percentile; last in its row, so that nothing moves when it comes and goes."""
    key, share = common.follow("percentile", float(choice.percentile or 99.99))
    st.number_input(
        "Keep, %",
        90.0,
        100.0,
        value=share,
        step=0.01,
        format="%.3f",
        key=key,
        width=88,
        on_change=common.changed,
        args=(key, _percentile, name),
        help="Share of the values that stays inside of the range.",
    )


def _grid_settings(now: state.Session, layer: Layer, name: str, *, ranged: bool, weighted: bool) -> None:
    """Type, scales and weights; `name` is the layer whose choice sets the range."""
    choice, own = now.recipe.choice(name), now.recipe.choice(layer.name)
    key, first = common.follow("precision", str(own.precision))
    st.segmented_control(
        "Precision",
        [str(p) for p in target(now.recipe.target).precisions],
        default=first,
        key=key,
        required=True,
        on_change=common.changed,
        args=(key, _precision, layer.name),
        help="int16: 16-bit activations, 8-bit weights. float: this layer is not quantized.",
    )
    if ranged:
        key, first = common.follow("scales", RULES[choice.scale_rule or ScaleRule.FREE])
        st.selectbox(
            "Scales",
            list(SCALES),
            index=list(SCALES).index(first),
            key=key,
            width=138,
            on_change=common.changed,
            args=(key, _scales, name),
            help=SCALES_HELP,
        )
    if weighted:
        shown = next(label for label, value in GRANULARITY.items() if value is own.weights)
        key, first = common.follow("granularity", shown)
        st.segmented_control(
            "Weights per",
            list(GRANULARITY),
            default=first,
            key=key,
            required=True,
            on_change=common.changed,
            args=(key, _granularity, layer.name),
            help="One scale for each output channel, or one for the whole weight tensor.",
        )


def _method(label: str, name: str, shown: Range) -> None:
    method = METHODS[label]
    changes = ChoiceChanges(method=method)
    if method is Method.MANUAL:
        changes["range"] = shown
    state.edit_layer(name, f"{text.short(name)}: {label}", **changes)


def _percentile(share: float, name: str) -> None:
    state.edit_layer(
        name, f"{text.short(name)}: Percentile {share:g} %", method=Method.PERCENTILE, percentile=share
    )


def _symmetry(choice: str, name: str) -> None:
    words = "symmetric" if choice == "sym" else "asymmetric"
    state.edit_layer(name, f"{text.short(name)}: {words}", symmetric=choice == "sym")


def _precision(value: str, name: str) -> None:
    state.edit_layer(name, f"{text.short(name)}: {value}", precision=Precision(value))


def _scales(label: str, name: str) -> None:
    state.edit_layer(name, f"{text.short(name)}: scales {label}", scale_rule=SCALES[label])


def _granularity(label: str, name: str) -> None:
    state.edit_layer(name, f"{text.short(name)}: weights per {label}", weights=GRANULARITY[label])


def _reset(name: str) -> None:
    state.edit(lambda recipe: recipe.without_layer(name), f"{text.short(name)}: defaults")


def _similar(now: state.Session, layer: Layer, name: str) -> None:
    """Give this layer's settings to others."""
    same = [e.name for e in now.model.layers if e.op == layer.op and e.name != name]
    computed = [e.name for e in now.model.layers if e.name != name]
    with st.popover("Apply to…", icon=":material/content_copy:", key="similar", disabled=not computed):
        st.caption(
            "Strategy, symmetry, precision, scales and weights of this layer; a manual range is not copied."
        )
        if same:
            st.button(
                f"{len(same):,} other {text.escape(layer.op)}",
                key="apply_same",
                width="stretch",
                on_click=_copy,
                args=(name, tuple(same)),
            )
        st.button(
            f"all {len(computed):,} other layers" if len(computed) > 1 else "the other layer",
            key="apply_all",
            width="stretch",
            on_click=_copy,
            args=(name, tuple(computed)),
        )


def _copy(name: str, others: tuple[str, ...]) -> None:
    def change(recipe: Recipe) -> Recipe:
        choice = recipe.choice(name)
        given = ChoiceChanges(
            symmetric=choice.symmetric,
            precision=choice.precision,
            weights=choice.weights,
            scale_rule=choice.scale_rule,
        )
        if choice.method is not Method.MANUAL:
            given |= ChoiceChanges(method=choice.method, percentile=choice.percentile)
        return recipe.with_layers(others, **given)

    state.edit(change, f"settings of {text.short(name)} for {text.plural(len(others), 'other layer')}")


def _chart(now: state.Session, view: TensorView) -> None:
    head = now.project.head
    heading = (
        "Values seen in calibration" if view.quantized else "Values, which stay float: what int8 would do"
    )
    data = payload(
        view,
        seq=keys.CHART_EDIT.get(),
        token=state.recipe_token(now.recipe),
        readonly=not view.quantized,
        heading=heading,
        more=tools.marks(view) if keys.DETAILS.get() == details.TOOLS else (),
        before=tensor_before.figures(now, view.layer),
        step=f"step {head}" if head else "the start",
    )
    held = held_range.following(now) is not now
    threshold_chart(data, key=keys.CHART.name, on_edit=_dragged, on_use=_use, on_hold=_held, held=held)


@uninterrupted
def _held() -> None:
    """A clip line stands still while it is dragged, or was let go without a change; a callback."""
    held, now = threshold.held(keys.CHART), state.session()
    if held is not None and now is not None:
        held_range.hold(now, details.owner(now), held.range)


@uninterrupted
def _dragged() -> None:
    """A clip line was moved; a callback."""
    moved, now = threshold.moved(keys.CHART), state.session()
    if moved is None or now is None:
        return
    keys.CHART_EDIT.set(moved.edit)
    name = details.owner(now)
    words = f"{text.number(moved.range.low)} … {text.number(moved.range.high)}"  # digits as on the tile
    state.edit_layer(name, f"{text.short(name)}: {words}", method=Method.MANUAL, range=moved.range)


@uninterrupted
def _use() -> None:
    """A method's mark was clicked; a callback."""
    used, now = threshold.used(keys.CHART), state.session()
    if used is None or now is None:
        return
    name = details.owner(now)
    if used in {m.value for m in AUTOMATIC}:
        method = Method(used)
        state.edit_layer(name, f"{text.short(name)}: {LABELS[method]}", method=method)
    elif (mark := tools.marked(used)) is not None:
        details.use_range(name, mark.label, mark.low, mark.high)
