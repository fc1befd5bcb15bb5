"""Overview: what quantization saves and loses, where the loss comes from, and the layers to look at first."""

import streamlit as st

from quantscope.core.evaluate import Comparison
from quantscope.core.targets import Precision
from quantscope.ui.components import Card, cards, layer_graph
from quantscope.ui.content import size_parts, text
from quantscope.ui.content.distance import since, to_baseline
from quantscope.ui.content.rows import Row, edges
from quantscope.ui.figures.errors import error_figure
from quantscope.ui.figures.graph import graph_data
from quantscope.ui.runs import advice, baseline, exporting, measured, step_figures, worst
from quantscope.ui.runs.measurement_work import LossByPart, guessing
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.views import (
    autotune,
    best_default,
    common,
    easyquant_model,
    fixes,
    lost_outputs,
    present,
    saturation,
)
from quantscope.ui.views.first_layers import first_layer
from quantscope.ui.views.overview_cards import (
    SQNR_TIP,
    layers_card,
    measured_cards,
    output_cards,
    waiting_cards,
)

KINDS = (measured.EFFECT, measured.LOCAL, measured.WHOLE, measured.LOSS_BY_PART, advice.ADVICE)


def render() -> None:
    """Draw the page."""
    common.title("Overview", "What quantization saves, what it costs, and which layers to look at first.")
    now = common.session("then this page shows what int8 costs and saves.")
    if now is None:
        return
    seen = measured.ready(now, KINDS)
    whole = measured.whole(now)  # asked for first: the cards are at the top
    rows, running = measured.rows(now)
    parts = measured.loss_by_part(now)
    helps = advice.advice(now, advice.first_layers(now))
    common.polling(
        whole.running or parts.running or running or helps.running,
        *KINDS,
        seen=seen,
    )
    present.sentence(now)
    _cards(now, whole, rows)
    with st.container():  # always there
        autotune.render(now)
    with st.container():  # always there
        _suspicious(now, whole)
        lost_outputs.overview(whole.value)
        saturation.overview(now, whole.value)
        nothing = all(row.precision == Precision.FLOAT for row in rows if row.kind == "compute")
        if nothing:
            st.warning(
                "No layer is quantized: the exported model computes what the float model computes. "
                "The notes at the end of this page say what cannot be quantized; "
                "the rest is set to float on *Layers*.",
                icon=":material/warning:",
            )
    few = measured.preview_samples(now)
    if not nothing:  # what is left is how ONNX Runtime orders its sums
        _loss_by_part(parts, few)
    _graph(now, rows, running)
    _worst(now)
    _improve(now)
    with st.container(border=True):
        st.markdown(f"**Error of every layer** — {few}; higher is better; click a point to inspect the layer")
        st.plotly_chart(
            error_figure(rows),
            key=keys.OVERVIEW_ERRORS.name,
            on_select=_picked_point,
            config={"displayModeBar": False},
            selection_mode="points",
        )
    _notes(now)


def _improve(now: state.Session) -> None:
    views = {
        "Model fixes": fixes.render,
        "Best default": best_default.render,
        "EasyQuant": easyquant_model.render,
    }
    with st.container(border=True):
        st.markdown("**Other ways to make it better**")
        if not keys.IMPROVE_TAB.there() and (last := keys.IMPROVE_TAB_KEPT.get()) in views:
            keys.IMPROVE_TAB.set(last)  # lost while another page, or a job's progress, is shown
        tabs = st.tabs(list(views), key=keys.IMPROVE_TAB.name, on_change=_keep_tab)
        for tab, view in zip(tabs, views.values(), strict=True):
            with tab:
                view(now)


def _keep_tab() -> None:
    keys.IMPROVE_TAB_KEPT.set(keys.IMPROVE_TAB.get())


def _picked_point() -> None:
    point, now = common.clicked(keys.OVERVIEW_ERRORS), state.session()
    if point is not None and now is not None:
        _inspect(now.model.layers[int(point["x"]) - 1].name)


def _notes(now: state.Session) -> None:
    if now.workspace.notes:
        with st.expander(f"{text.plural(len(now.workspace.notes), 'note')} on the model and the data"):
            for note in now.workspace.notes:
                st.markdown(f"- {text.escape(note)}")


def _cards(now: state.Session, measurement: measured.Measured[Comparison], rows: list[Row]) -> None:
    if measurement.error:
        st.error(text.escape(text.sentence(measurement.error)), icon=":material/error:")
    found, judged = measurement.value, now.workspace.judged
    against, pinned = [], baseline.baseline(now.project)
    before = step_figures.before(now)
    if before is not None and before.whole is not None:
        against.append(since(now.project.parents[now.project.head], before.whole))
    if pinned is not None and pinned.figures is not None and pinned.figures.whole is not None:
        against.append(to_baseline(pinned.version.short, pinned.figures.whole))
    if found is None:
        labelled = judged is not None and judged.labels is not None
        shown = waiting_cards(labelled=labelled, running=measurement.running)
    else:
        shown = measured_cards(found, measured.judged_basis(now), against)
    lines = now.project.can_undo + (pinned is not None)
    in_float = {name for name, _ in exporting.stays_float(now.model, now.recipe, now.encodings)}
    cards([*shown, layers_card(rows, in_float)], key="overview_cards", least=160, lines=max(1, lines))
    if found is not None and (larger := size_parts.why_larger(found.parts, found.float_bytes)):
        st.caption(f":material/info: {larger}")
    each = [] if found is None else output_cards(found.outputs)
    if each:
        with st.container(border=True):
            basis = measured.judged_basis(now).markdown
            st.markdown(
                f"**Each output** — against float, over {basis}; all of them as one hide the small ones"
            )
            cards(each, key="each_output", least=150, flat=True)


def _suspicious(now: state.Session, measurement: measured.Measured[Comparison]) -> None:
    """A warning where the float model itself fails on the data: no other figure means anything then."""
    found = measurement.value
    judged = now.workspace.judged
    if found is None or found.accuracy is None or judged is None or judged.labels is None:
        return
    if guessing(found.accuracy, judged.labels):
        what = "positions" if found.accuracy.positions else "samples"
        st.warning(
            f"**The float model itself is right on only {100 * (found.accuracy.float_top1 or 0):.1f} % of "
            f"the {what}, no more than a guess.** The data are probably not prepared as in training "
            "(scaling, size, order of channels), or the labels are of other classes. What was done to the "
            "data is in the notes at the end of this page; open the model again with data that fit.",
            icon=":material/report:",
        )


def _loss_by_part(measurement: measured.Measured[LossByPart], few: str) -> None:
    parts = measurement.value
    entries = (
        ("Weights only", parts.weights if parts else None, "activations stay float"),
        ("Activations only", parts.activations if parts else None, "weights stay float"),
        ("Both", parts.both if parts else None, "as exported"),
    )
    shown = []
    for name, found, words in entries:
        agree = found.accuracy.agreement if found is not None and found.accuracy is not None else None
        said = words if agree is None else f"{words}; {text.share(agree)} agree with float"
        value = text.decibel(found.overall.sqnr_db) if found is not None else "–"
        note = said if found is not None else "measuring…" if measurement.running else "not measured"
        shown.append(Card(name=name, value=value, note=note, tip=SQNR_TIP, waiting=measurement.running))
    with st.container(border=True):
        st.markdown(f"**Where the loss comes from** — output SQNR with only one half quantized · {few}")
        cards(shown, key="loss-by-part", columns=3, flat=True)


def _graph(now: state.Session, rows: list[Row], running: bool) -> None:
    with st.container(border=True):
        few = measured.preview_samples(now)
        waiting = " · :orange[measuring…]" if running else ""
        st.markdown(f"**Graph** — cumulative SQNR on {few}; choose a layer to inspect it{waiting}")
        worst = [cost.layer for cost in measured.table(now).costs]
        data = graph_data(rows, edges(now.model), worst=worst, project=now.project.id)
        layer_graph(data, key=keys.GRAPH.name, on_open=_opened)


def _opened() -> None:
    events = keys.GRAPH.get()
    if events is not None and events.open is not None:
        _inspect(events.open["name"])


def _worst(now: state.Session) -> None:
    found = advice.first_layers(now)
    if not found:
        return
    said = (
        "What costs the model's output most, as ranked on *Sensitivity*."
        if worst.ranked(now)
        else "Where the error gets into the model's output, as far as one run tells. *Sensitivity* measures "
        "what each layer costs."
    )
    if not any(entry.flagged for entry in found):
        said = f"No layer stands out; these lose more than others. {said}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(gap=None):
            st.subheader("Look at these first", anchor=False)
            st.caption(said)
        st.button(
            "Open Sensitivity",
            key="to_sensitivity",
            icon=":material/leaderboard:",
            on_click=_to_sensitivity,
        )
    tried = advice.advice(now, found)
    for column, entry in zip(st.columns(advice.SHOWN), found, strict=False):
        with column.container(border=True, height="stretch", vertical_alignment="distribute"):
            first_layer(now, entry, tried)


def _to_sensitivity() -> None:
    keys.GO.set(Page.SENSITIVITY)


def _inspect(name: str) -> None:
    state.choose_layer(name)
    keys.GO.set(Page.INSPECTOR)
