"""Sensitivity: which layers matter most for the output, why, and what to do about them."""

from collections.abc import Sequence

import streamlit as st
from streamlit.elements.plotly_chart import PlotlyState

from quantscope.core.sensitivity import SAMPLES, Kind, Metric, RankingRow, Subject, metric_estimate, ranking
from quantscope.ui.components import Card, cards
from quantscope.ui.content import text
from quantscope.ui.figures.sensitivity import ROWS, axis, sensitivity_figure
from quantscope.ui.runs import measured
from quantscope.ui.runs import rankings as runs
from quantscope.ui.runs.rankings import Sweep
from quantscope.ui.session import keys, state
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.session.keys import Page, RankingChoices
from quantscope.ui.session.memory import Key
from quantscope.ui.views import common, job_progress, mixed, remedies

PLAIN = {"displayModeBar": False}
ADDS_UP_DB = 6.0  # that the whole model is worse than its worst layer alone: twice the error
STREAMED = "sensitivity"  # what the engine calls its runs
KINDS = {Kind.ENABLE: "One layer on", Kind.DISABLE: "One layer off", Kind.OP_TYPE: "Operator types"}
KINDS_HELP = (
    "**One layer on**: only that layer is quantized; shows what each costs by itself. "
    "**One layer off**: all but that layer; shows what leaving it in float would win back. "
    "**Operator types**: all layers of one operator at a time; few runs, a first look."
)
METRICS = {
    Metric.SQNR: "Output SQNR",
    Metric.COSINE: "Output cosine",
    Metric.KL: "KL divergence",
    Metric.AGREEMENT: "Agreement",
    Metric.TOP1: "Top-1",
}
METRICS_HELP = (
    "Another metric sorts the same runs again; nothing is run twice.\n\n"
    "**Output SQNR**: size of the output over that of its error, in dB; 20 dB is an error of 10 %, 40 dB of "
    "1 %. "
    "**Output cosine**: 1 where the output points the same way as the float model's. "
    "**KL divergence**: how much the probabilities of the classes differ, in nats (units of the natural "
    "logarithm); 0 where they are equal. "
    "**Agreement**: share of samples whose first class is the float model's. "
    "**Top-1**: share whose first class is right."
)


def render() -> None:
    """Draw the page."""
    common.title("Sensitivity", "Which layers cost accuracy, how sure that is, and what helps.")
    now = common.session("then this page ranks its layers.")
    if now is None:
        return
    if now.workspace.judged is None:
        common.empty(
            "There are no data to run on",
            "The calibration data are not there any more; give them again.",
            "Give data",
            Page.OPEN,
        )
        return
    _ranking(now)
    mixed.render(now)


def _ranking(now: state.Session) -> None:
    job = runs.job(now)
    kind, metric = _controls(now, job)
    sweep = runs.sweep(now, kind)
    if job is not None and job.active:
        common.poll("sens", 0.6, _live, kind, metric)
        return
    if job is not None and job.error:
        st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
    if sweep is None or not sweep.runs:
        remedies.used(now)
        _nothing(job, sweep)
        return
    _result(now, sweep, metric, job)


# --- what to run ---


def _controls(now: state.Session, job: Job[object] | None) -> tuple[Kind, Metric]:
    """Kind, metric, samples and Run; the choices outlive a visit to another page."""
    newest, last = runs.newest(now), keys.RANKING_CHOICES.get()
    most = max(runs.most_samples(now), 1)
    _begin_kind(now)
    if not keys.RANKING_COUNT.there():
        keys.RANKING_COUNT.set(last.count if last else newest.samples if newest else SAMPLES)
    keys.RANKING_COUNT.set(max(1, min(keys.RANKING_COUNT.get(), most)))
    with st.container(border=True, horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Run with",
            list(KINDS),
            format_func=lambda k: KINDS[k],
            key=keys.RANKING_KIND.name,
            required=True,
            help=KINDS_HELP,
        )
        assert kind is not None  # required
        there = runs.metrics(now, runs.sweep(now, kind)) or (Metric.SQNR,)
        if keys.RANKING_METRIC.get() not in there:
            keys.RANKING_METRIC.set(last.metric if last is not None and last.metric in there else there[0])
        metric: Metric = st.selectbox(
            "Rank by",
            there,
            format_func=lambda m: METRICS[m],
            key=keys.RANKING_METRIC.name,
            width=170,
            help=METRICS_HELP,
        )
        count = st.number_input(
            "Samples",
            min_value=1,
            max_value=most,
            step=1,
            key=keys.RANKING_COUNT.name,
            width=130,
            help=f"Up to {most:,}; the other samples judge remedies. More narrow the intervals; every "
            "sample takes as long as the first, and those already run are not run again.",
        )
        st.button(
            "Run",
            key="start_sens",
            type="primary",
            icon=":material/play_arrow:",
            disabled=job is not None and job.active,
            on_click=_begin,
        )
        with st.container(width="content", height=38, border=False, vertical_alignment="center"):
            st.caption("" if job is not None and job.active else _extent(now, kind, int(count)))
    keys.RANKING_CHOICES.set(RankingChoices(kind=kind, metric=metric, count=int(count)))
    return kind, metric


def _begin_kind(now: state.Session) -> None:
    newest, last = runs.newest(now), keys.RANKING_CHOICES.get()
    common.begin(keys.RANKING_KIND, KINDS, last.kind if last else newest.kind if newest else Kind.ENABLE)


def _extent(now: state.Session, kind: Kind, count: int) -> str:
    """How much a run would be, and how long it should take at the pace of the last one."""
    left = runs.runs_left(now, kind, count)
    if not left:
        return "nothing left to run"
    pace = runs.pace(now)
    return text.plural(left, "run") + (f", about {text.about(left * pace)}" if pace is not None else "")


def _begin() -> None:
    now = state.session()
    if now is not None:
        _begin_kind(now)
        runs.start(now, keys.RANKING_KIND.get(), int(keys.RANKING_COUNT.get()))


def _nothing(job: Job[object] | None, sweep: Sweep | None) -> None:
    if sweep is not None and job is not None and job.state is State.CANCELLED:
        st.info("Cancelled before the first run was done. Press *Run* to start again.")
        return
    st.info(
        "Press **Run**: the model is run with one layer quantized at a time, and what that does to the "
        "output ranks the layers. Results appear as they come; you can cancel and keep them.",
        icon=":material/play_arrow:",
    )


# --- while it runs ---


def _live(kind: Kind, metric: Metric) -> None:
    now = state.session()
    job = common.running("sens", runs.job(now) if now is not None else None)
    if now is None or job is None:
        return
    sweep, newest = runs.sweep(now, kind), runs.newest(now)
    words = common.progress_words(job)
    if newest is not None and job.progress.label == STREAMED:
        words = words.replace(text.escape(STREAMED), KINDS[newest.kind], 1)
    job_progress.line(job, "sens", words)
    if newest is not None and newest.kind is not kind:
        st.caption(f"Running: {KINDS[newest.kind]}. Below is what was found before.")
    if sweep is None or not sweep.runs:
        return
    _cards(sweep, metric)
    scores = ranking(list(sweep.runs), kind, metric)
    if scores:
        with st.container(border=True):
            _heading(sweep, metric, scores, "")
            st.plotly_chart(
                sensitivity_figure(scores[:ROWS], kind, metric), key="sens_live_figure", config=PLAIN
            )


# --- what came out ---


def _result(now: state.Session, sweep: Sweep, metric: Metric, job: Job[object] | None) -> None:
    current = sweep.token == state.recipe_token(now.recipe)
    st.markdown(_standing(now, sweep, job, current=current))
    _cards(sweep, metric)
    scores = ranking(sweep.runs, sweep.kind, metric)
    if not scores:
        st.info(
            "There is nothing to rank: no layer is quantized. The notes on *Overview* say what cannot be."
            if sweep.complete
            else "No layer has been run yet. *Run* goes on."
        )
        return
    _turn(now)
    with st.container(border=True):
        click = "; click a bar to inspect the layer" if sweep.kind in runs.LAYERS else ""
        _heading(sweep, metric, scores, click)
        few = len(scores) <= ROWS + ROWS // 2  # no toggle for a handful more
        everything = few or st.toggle(f"Show all {len(scores)}", key="sens_all")
        shown = scores if everything else scores[:ROWS]
        chart, names = keys.ranking_chart(sweep.kind, metric, len(shown)), [score.name for score in shown]
        st.plotly_chart(
            sensitivity_figure(shown, sweep.kind, metric),
            key=chart.name,
            on_select=(lambda: _clicked(chart, names)) if sweep.kind in runs.LAYERS else "ignore",
            selection_mode="points",
            config=PLAIN,
        )
        st.caption(
            _adding_up(sweep, metric, scores) + "Whiskers: 90 % of 200 draws of the samples with replacement."
        )
    if sweep.kind in runs.LAYERS:
        remedies.render(now, sweep, runs.top(scores), axis(sweep.kind, metric), current=current)
    else:
        st.caption("For causes and remedies, run *One layer on* or *One layer off*.")


def _standing(now: state.Session, sweep: Sweep, job: Job[object] | None, *, current: bool) -> str:
    """One line on what the figures come from: always there, so that an edit moves nothing below it."""
    if not current:
        return (
            ":orange[:material/history: **Found for an earlier state of the recipe.**] "
            "*Run* again: only what the edit changed is repeated."
        )
    data = "evaluation" if now.workspace.evaluation else "calibration"
    said = f"{text.plural(sweep.samples, 'sample')} of the {data} data"
    if not sweep.complete:
        return (
            f":orange[:material/pause: **Stopped after {len(sweep.runs):,} of {sweep.total:,} runs**] "
            f"on {said}. *Run* goes on from there."
        )
    said += f", {text.plural(len(sweep.runs), 'run')}"
    if sweep.repeated:
        said += f", {sweep.repeated:,} of them known from before"
    if job is not None and job.state is State.DONE and job.result is sweep:
        said += f", {text.duration(job.elapsed)}"
    return f":gray[:material/check_circle: {said}.]"


def _heading(sweep: Sweep, metric: Metric, scores: tuple[RankingRow, ...], how: str) -> None:
    flagged = sum(score.flagged for score in scores)
    noun = "operator type" if sweep.kind is Kind.OP_TYPE else "layer"
    tail = f"{text.plural(flagged, noun)} far beyond the others" if flagged else f"no {noun} stands out"
    st.markdown(f"**{KINDS[sweep.kind]}, by {METRICS[metric]}** — {tail}{how}")


def _adding_up(sweep: Sweep, metric: Metric, scores: tuple[RankingRow, ...]) -> str:
    """Says so where no layer is to blame alone, and the loss of the whole is the sum of many small ones."""
    whole = metric_estimate(list(sweep.runs), Subject(kind=Kind.ALL), Metric.SQNR)
    worst = scores[0]
    if metric is not Metric.SQNR or sweep.kind is not Kind.ENABLE or worst.flagged or whole is None:
        return ""
    if not worst.value - whole.value >= ADDS_UP_DB:
        return ""
    return (
        f"**The loss adds up**: the worst layer alone leaves {text.decibel(worst.value)}, all together "
        f"{text.decibel(whole.value)}. Better methods for every layer (*Auto-tune*), or more bits for "
        "several layers, help more than a remedy for one.  \n"
    )


def _cards(sweep: Sweep, metric: Metric) -> None:
    """What each half costs in the whole model."""
    done = list(sweep.runs)
    shown = []
    for name, kind, words in (
        ("Weights only", Kind.WEIGHTS, "activations stay float"),
        ("Activations only", Kind.ACTIVATIONS, "weights stay float"),
        ("Both", Kind.ALL, "everything quantized"),
    ):
        found = metric_estimate(done, Subject(kind=kind), metric)
        value = "–" if found is None else _value(found.value, metric)
        note = words
        if found is not None:
            ends = f"{_value(found.low, metric)} … {_value(found.high, metric)}"
            note = ends if found.samples > 1 else "one sample so far"
        tip = f"{METRICS[metric]} of the whole model, {words}; below it the 90 % interval over the samples."
        shown.append(Card(name=name, value=value, note=note, tip=tip, waiting=found is None))
    cards(shown, key="sens_cards", columns=3)


def _value(value: float, metric: Metric) -> str:
    match metric:
        case Metric.SQNR:
            return text.decibel(value)
        case Metric.COSINE:
            return text.cosine(value)
        case Metric.KL:
            return f"{text.number(value, 3)} nats"
        case _:
            return text.percent(value, 1)


def _turn(now: state.Session) -> None:
    """The layer where the error gets in, where errors were measured layer by layer."""
    whole, alone = measured.effect(now), measured.local(now)
    common.polling(whole.running or alone.running, measured.EFFECT, measured.LOCAL)
    if whole.value is None or alone.value is None:
        if whole.running or alone.running:
            st.caption("Looking for the layer where the error gets in…")
        return
    found = measured.table(now).cliff
    if found is None:
        st.markdown("**Where the error gets in**: nowhere in particular, it builds up evenly.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**Where the error gets in**: {text.code(text.short(found.layer, 48))}, "
            f"{text.escape(found.sentence)}.",
            width="stretch",
        )
        remedies.inspect_button(found.layer, "sens_turn")


def _clicked(chart: Key[PlotlyState | None], names: Sequence[str]) -> None:
    """A bar was clicked; a callback."""
    point = common.clicked(chart)
    if point is not None and 1 <= (rank := round(float(point["y"]))) <= len(names):
        remedies.inspect(names[rank - 1])
