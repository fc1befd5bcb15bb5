"""Overview: what quantization saves and loses, where the loss comes from, and the layers to look at first."""

import streamlit as st

from quantscope.core.evaluate import Accuracy, Comparison, Latency
from quantscope.core.runtime import integer_sums
from quantscope.core.sensitivity import Kind, Metric, ranking
from quantscope.core.targets import Precision
from quantscope.ui.components import Card, cards, layer_graph
from quantscope.ui.content import diagnosis, text
from quantscope.ui.content.rows import Row, edges
from quantscope.ui.figures.errors import error_figure
from quantscope.ui.figures.graph import graph_data
from quantscope.ui.figures.sensitivity import axis
from quantscope.ui.runs import measured, rankings
from quantscope.ui.runs.measurement_work import MOST_SAMPLES, LossByPart, guessing
from quantscope.ui.session import cached, keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.views import (
    autotune,
    best_default,
    common,
    easyquant_model,
    fixes,
    lost_outputs,
    remedies,
    saturation,
)

SHOWN = 3  # layers to look at first
LEFT = {Kind.ENABLE: "with it alone quantized", Kind.DISABLE: "left in float"}
SQNR_TIP = "Signal to quantization noise of all float outputs: 10 log₁₀(Σf² / Σ(f−q)²), in dB."
COSINE_TIP = "f·q / (‖f‖‖q‖) of all float outputs taken as one vector; no unit."


def render() -> None:
    """Draw the page."""
    common.title("Overview", "What quantization saves, what it costs, and which layers to look at first.")
    now = common.session("then this page shows what int8 costs and saves.")
    if now is None:
        return
    whole = measured.whole(now)  # asked for first: the cards are at the top
    rows, running = measured.rows(now)
    parts = measured.loss_by_part(now)
    common.polling(
        whole.running or parts.running or running,
        measured.EFFECT,
        measured.LOCAL,
        measured.WHOLE,
        measured.LOSS_BY_PART,
    )
    _cards(now, whole, rows)
    with st.container():  # always there
        _suspicious(now, whole)
        lost_outputs.overview(whole.value)
        saturation.overview(now, whole.value)
        if all(row.precision == Precision.FLOAT for row in rows if row.kind == "compute"):
            st.warning(
                "No layer is quantized: the exported model computes what the float model computes. "
                "The notes at the end of this page say what cannot be quantized; "
                "the rest is set to float on *Layers*.",
                icon=":material/warning:",
            )
    few = measured.preview_samples(now)
    _loss_by_part(parts, few)
    _graph(now, rows, running)
    _worst(now, rows)
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
        "Auto-tune": autotune.render,
        "Model fixes": fixes.render,
        "Best default": best_default.render,
        "EasyQuant": easyquant_model.render,
    }
    with st.container(border=True):
        st.markdown("**Make it better**")
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
        st.error(text.escape(measurement.error), icon=":material/error:")
    found = measurement.value
    computed = [row for row in rows if row.kind == "compute"]
    flagged = sum(bool(row.flag) for row in rows)
    layers = Card(
        name="Layers in int8",
        value=f"{sum(row.precision == 'int8' for row in computed)} of {len(computed)}",
        change=f"{flagged} flagged" if flagged else "",
        tone="bad",
        note="" if flagged else "none flagged",
        tip="Layers whose output is quantized to 8 bits. A flag marks a layer far below the others "
        "(median − 3 IQR), or values that no range can hold.",
    )
    if found is None:
        names = ("Top-1", "Output SQNR", "Output cosine", "Size", "Latency")
        note = "measuring…" if measurement.running else "not measured"
        shown = [Card(name=name, value="–", note=note, waiting=measurement.running) for name in names]
    else:
        output = found.output
        judged = now.workspace.judged
        samples = text.plural(min(len(judged), MOST_SAMPLES) if judged is not None else 0, "sample")
        shown = _accuracy(found.accuracy) if found.accuracy is not None else []
        shown += [
            Card(
                name="Output SQNR",
                value=text.decibel(output.sqnr_db),
                note=f"over {samples}",
                tip=f"{SQNR_TIP} Higher is better.",
            ),
            Card(
                name="Output cosine",
                value=text.cosine(output.cosine),
                note=f"over {samples}",
                tip=f"{COSINE_TIP} 1 is identical.",
            ),
            _size(found),
            _latency(found.latency),
        ]
        worst = lost_outputs.card(found)
        shown[-2:-2] = [] if worst is None else [worst]
    cards([*shown, layers], key="overview_cards", least=140)


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


def _accuracy(found: Accuracy) -> list[Card]:
    """Top-1, or agreement without labels; and the mean IoU of label maps."""
    what, over = ("positions", ", over positions") if found.positions else ("samples", "")
    if found.float_top1 is None or found.quantized_top1 is None:
        tip = (
            f"Share of {found.rows:,} {what} for which both models put the same class first. "
            "Give labels to see top-1."
        )
        value = f"{100 * found.agreement:.1f} %"
        return [Card(name="Agreement", value=value, note=f"with float{over}", tip=tip)]
    tip = f"Share of {found.rows:,} labelled {what} whose highest score is the right class."
    cards = [_share("Top-1", found.float_top1, found.quantized_top1, over, tip)]
    if found.float_miou is not None and found.quantized_miou is not None:
        tip = "Mean over classes of intersection over union, |A ∩ B| / |A ∪ B|, of labels and predictions."
        cards.append(_share("Mean IoU", found.float_miou, found.quantized_miou, "", tip))
    return cards


def _share(name: str, before: float, after: float, over: str, tip: str) -> Card:
    change = 100 * (after - before)
    return Card(
        name=name,
        value=f"{100 * after:.1f} %",
        change=f"{change:+.1f} pp".replace("-", "−"),
        tone="" if abs(change) < 0.05 else "good" if change > 0 else "bad",
        note=f"float {100 * before:.1f} %{over}",
        tip=tip,
    )


def _size(found: Comparison) -> Card:
    change = 100 * (found.quantized_bytes / found.float_bytes - 1)
    return Card(
        name="Size",
        value=text.size(found.quantized_bytes),
        change=f"{change:+.0f} %".replace("-", "−"),
        tone="good" if change < 0 else "bad",
        note=f"float {text.size(found.float_bytes)}",
        tip="The .onnx files, external data included.",
    )


def _latency(found: Latency | None) -> Card:
    if found is None:
        return Card(name="Latency", value="–", note="not measured")
    ratio = found.float_ms / found.quantized_ms
    change = (
        "same speed"
        if 0.95 < ratio < 1.05
        else f"{ratio:.1f}× faster"
        if ratio > 1
        else f"{1 / ratio:.1f}× slower"
    )
    return Card(
        name="Latency",
        value=f"{found.quantized_ms:#.3g} ms".replace(". ", " "),
        change=change,
        tone="" if change == "same speed" else "good" if ratio > 1 else "bad",
        note=f"float\u00a0{found.float_ms:#.3g}\u00a0ms".replace(".\u00a0", "\u00a0"),
        tip=f"Median of {found.runs} runs of one sample on this machine's CPU, "
        f"{text.plural(found.threads, 'thread')}, ONNX Runtime; both models in turn.{_no_vnni(found)}",
    )


def _no_vnni(found: Latency) -> str:
    """What is to be expected of integer kernels here."""
    if not integer_sums().saturates:
        return ""
    slow = " This CPU has no VNNI, which integer kernels need to be much faster than float."
    return slow if found.default_ms is None else f"{slow} Exact sums take longer than a default session here."


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
        said = words if agree is None else f"{words}; {100 * agree:.0f} % agree with float"
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
        data = graph_data(rows, edges(now.model), project=now.project.id)
        layer_graph(data, key=keys.GRAPH.name, on_open=_opened)


def _opened() -> None:
    events = keys.GRAPH.get()
    if events is not None and events.open is not None:
        _inspect(events.open["name"])


def _worst(now: state.Session, rows: list[Row]) -> None:
    ranked = rankings.ranked(now)
    if ranked is not None:
        scores = ranking(ranked.runs, ranked.kind, Metric.SQNR)
        said = "What costs the model's output most, as ranked on *Sensitivity*."
        found = diagnosis.costliest(
            now.model,
            rankings.top(scores)[:SHOWN] if scores else [],
            ranked.causes,
            lambda score: f"{remedies.cost(score, axis(ranked.kind, Metric.SQNR))} {LEFT[ranked.kind]}",
        )
    else:
        said = (
            "The largest errors that layers make by themselves. "
            "*Sensitivity* measures what each costs the model's output, and what a remedy wins there."
        )
        found = diagnosis.worst(
            now.model,
            now.workspace.statistics,
            now.recipe,
            now.encodings,
            rows,
            cached.of_project(now.project.id, diagnosis.FirstCauses, now.model.hash),
            count=SHOWN,
        )
    if not found:
        return
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
    for column, entry in zip(st.columns(SHOWN), found, strict=False):
        with column.container(border=True, height="stretch", vertical_alignment="distribute"):
            with st.container():
                st.markdown(f"{text.code(text.short(entry.name, 36))}")
                st.caption(f"{text.escape(entry.op)} · {text.escape(entry.cost)}")
                st.markdown(text.escape(entry.reason))
                st.markdown(f":material/lightbulb: {text.escape(entry.remedy)}")
            st.button(
                "Inspect",
                key=f"worst_{entry.name}",
                on_click=_inspect,
                args=(entry.name,),
                icon=":material/tune:",
            )


def _to_sensitivity() -> None:
    keys.GO.set(Page.SENSITIVITY)


def _inspect(name: str) -> None:
    state.choose_layer(name)
    keys.GO.set(Page.INSPECTOR)
