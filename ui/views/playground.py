"""Playground: values whose every property is known, and what each method, type and grid does to them."""

from dataclasses import replace

import streamlit as st

from quantscope.core.playground import (
    BITS,
    DISTRIBUTIONS,
    compare_kl_admm,
    histogram_of_draw,
    sqnr_by_bits,
    staircase,
)
from quantscope.core.thresholds import Method, linear_codebook
from quantscope.core.thresholds.reference import ReferenceRow
from quantscope.ui.components import tensor_figures, threshold, threshold_chart
from quantscope.ui.components.payload import payload
from quantscope.ui.content import disagreement, lesson, text
from quantscope.ui.content.lesson import Settings
from quantscope.ui.content.tensor_view import LABELS, RangeView, levels, view_range
from quantscope.ui.figures.bits import bits_figure
from quantscope.ui.figures.draws import draws_figure
from quantscope.ui.figures.overlay import overlay_figure
from quantscope.ui.figures.staircase import staircase_figure
from quantscope.ui.session import cached, keys
from quantscope.ui.session.memory import Key, parameters, put_parameters
from quantscope.ui.views import common, tools

PLAIN = {"displayModeBar": False}
METHODS = {LABELS[method]: method for method in (*lesson.PLAYED, Method.MANUAL)}
WINDOWS = {"All": "all", "Near zero": "zero", "High end": "end"}
BY_BITS = (Method.MINMAX, Method.PERCENTILE, Method.MSE, Method.KL, Method.ACIQ)
PARAMETER_WIDTH = 120  # pixels, at least
TEXT_AND_FIGURE = [1, 2.4]


def render() -> None:
    """Draw the page."""
    now = _settings()
    _controls(now)
    common.notice()
    put_parameters(lesson.to_query(now), _names())
    view = _view(now)
    if now.experiment:
        _experiment(now)
    _chart(view)
    _staircase(view)
    _before_and_after(view)
    _bits(now, view)
    st.subheader("Grids of other kinds", anchor=False)
    tools.grids(view, key="play_grids")
    _tools(now, view)


def _settings() -> Settings:
    """The session's settings; in a new session those of the link."""
    known = keys.PLAYGROUND.get()
    if known is None:
        known = lesson.from_query(parameters())
        keys.PLAYGROUND.set(known)
    return known


def _by_method(method: Method) -> None:
    """Let a method choose the range."""
    keys.PLAYGROUND.set(replace(_settings(), method=method, low=None, high=None))


def _names() -> set[str]:
    """Every part of a link that is the page's own."""
    own = {f"p_{p.name}" for entry in DISTRIBUTIONS.values() for p in entry.parameters}
    return own | set(Settings.__dataclass_fields__)


def _view(now: Settings) -> RangeView:
    """The drawn values with every method's choice; kept until data or type change."""
    histogram = cached.computed(("histogram", now.data), lambda: histogram_of_draw(lesson.drawn(now)))
    return view_range(histogram, now.spec, now.choice, methods=lesson.PLAYED, name=repr((now.data, now.bits)))


# --- settings ---


def _controls(now: Settings) -> None:
    presets = {preset.label: preset for preset in lesson.PRESETS}
    matching = next((p.label for p in lesson.PRESETS if p.settings == now), None)
    _show_in_widgets(now, matching)
    with st.container(gap="xsmall", key="play_settings"):
        _head(now, list(presets))
        _data_controls(now)
        _type_controls()
        look = presets[matching].look if matching else ""
        st.caption(f"{DISTRIBUTIONS[now.distribution].about} {look}".strip())


def _show_in_widgets(now: Settings, matching: str | None) -> None:
    """Let widgets follow the settings, which presets, links and drags change too."""
    keys.PLAY_PRESET.set(matching)
    keys.PLAY_DISTRIBUTION.set(now.distribution)
    keys.PLAY_SIZE.set(now.size)
    keys.PLAY_SEED.set(now.seed)
    keys.PLAY_BITS.set(now.bits)
    keys.PLAY_SIGN.set("signed" if now.signed else "unsigned")
    keys.PLAY_SYMMETRY.set("symmetric" if now.symmetric else "asymmetric")
    keys.PLAY_METHOD.set(LABELS[now.choice.method or Method.MSE])


def _head(now: Settings, presets: list[str]) -> None:
    """The page's name, the lesson, and the link to what is shown."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.title("Playground", anchor=False, width="content")
        st.selectbox(
            "Lesson",
            presets,
            key=keys.PLAY_PRESET.name,
            index=None,
            placeholder="Own settings; choose a lesson",
            width="stretch",
            label_visibility="collapsed",
            on_change=_preset,
        )
        _share(now)


def _data_controls(now: Settings) -> None:
    """Which values are drawn: values whose every property is known."""
    of = DISTRIBUTIONS[now.distribution].parameters
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        st.selectbox(
            "Distribution",
            list(DISTRIBUTIONS),
            key=keys.PLAY_DISTRIBUTION.name,
            format_func=lambda name: DISTRIBUTIONS[name].label,
            width=180,
            on_change=_distribution,
        )
        st.selectbox(
            "Values",
            lesson.SIZES if now.size in lesson.SIZES else [*lesson.SIZES, now.size],
            key=keys.PLAY_SIZE.name,
            format_func=lambda n: f"{n:,}",
            width=110,
            on_change=_size,
        )
        st.number_input("Seed", 0, lesson.SEEDS, key=keys.PLAY_SEED.name, width=110, on_change=_seed)
        for p in of:
            box = keys.play_parameter(now.distribution, p.name)
            box.set(now.values[p.name])
            st.number_input(
                p.label,
                p.low,
                p.high,
                step=p.step,
                key=box.name,
                format="%g",
                width=max(PARAMETER_WIDTH, 30 + 7 * len(p.label)),
                on_change=_parameter,
                args=(p.name, box),
            )


def _type_controls() -> None:
    """What they are quantized to."""
    with st.container(horizontal=True, vertical_alignment="top", gap="small"):
        st.slider("Bits", BITS[0], BITS[-1], key=keys.PLAY_BITS.name, width=190, on_change=_bits_chosen)
        st.segmented_control(
            "Type", ["signed", "unsigned"], key=keys.PLAY_SIGN.name, required=True, on_change=_sign
        )
        st.segmented_control(
            "Range",
            ["symmetric", "asymmetric"],
            key=keys.PLAY_SYMMETRY.name,
            required=True,
            on_change=_symmetry,
        )
        st.selectbox(
            "Strategy",
            list(METHODS),
            key=keys.PLAY_METHOD.name,
            width=270,
            format_func=lambda label: f"{label} · {METHODS[label].facts.phrase}",
            on_change=_method,
            help="What lies outside of the clip lines is cut to them; what lies inside is rounded to one of "
            "the type's levels. Drag a line, move it with the arrow keys, or choose a method's flag.",
        )


def _size() -> None:
    keys.PLAYGROUND.set(replace(_settings(), size=keys.PLAY_SIZE.get()))


def _seed() -> None:
    keys.PLAYGROUND.set(replace(_settings(), seed=keys.PLAY_SEED.get()))


def _bits_chosen() -> None:
    keys.PLAYGROUND.set(replace(_settings(), bits=keys.PLAY_BITS.get()))


def _other_tools() -> None:
    keys.PLAYGROUND.set(replace(_settings(), tools=keys.PLAY_TOOLS.get()))


def _preset() -> None:
    label = keys.PLAY_PRESET.get()
    chosen = next((p.settings for p in lesson.PRESETS if p.label == label), None)
    keys.PLAYGROUND.set(chosen or Settings())


def _distribution() -> None:
    keys.PLAYGROUND.set(_settings().of(keys.PLAY_DISTRIBUTION.get()))


def _parameter(name: str, box: Key[float]) -> None:
    now = _settings()
    keys.PLAYGROUND.set(replace(now, parameters={**now.parameters, name: float(box.get())}))


def _sign() -> None:
    if chosen := keys.PLAY_SIGN.get():
        keys.PLAYGROUND.set(replace(_settings(), signed=chosen == "signed"))


def _symmetry() -> None:
    if chosen := keys.PLAY_SYMMETRY.get():
        keys.PLAYGROUND.set(replace(_settings(), symmetric=chosen == "symmetric"))


def _method() -> None:
    method = METHODS[keys.PLAY_METHOD.get()]
    if method is Method.MANUAL:
        kept = _view(_settings()).range
        keys.PLAYGROUND.set(_settings().by_hand(kept.low, kept.high))
    else:
        _by_method(method)


def _share(now: Settings) -> None:
    with st.popover("Share", icon=":material/link:", key="play_share"):
        st.caption("This link opens the page with all of its settings.")
        st.code(link(st.context.url or "", now), language=None, wrap_lines=True)


def link(address: str, now: Settings) -> str:
    """The page's address with the settings, and without anything else."""
    return f"{address.split('?')[0]}?{lesson.query_text(now)}"


# --- what is shown ---


def _chart(view: RangeView) -> None:
    with st.container(key="figures_row"):
        tensor_figures(key="play_figures", heading="These values")
    threshold_chart(
        payload(
            view,
            seq=keys.PLAY_CHART_EDIT.get(),
            heading="Values drawn",
            more=tools.marks(view),
        ),
        key=keys.PLAY_CHART.name,
        on_edit=_dragged,
        on_use=_use,
    )
    for remark in view.remarks:
        st.caption(f":material/info: {text.escape(remark)}")


def _dragged() -> None:
    """A clip line was moved; a callback."""
    moved = threshold.moved(keys.PLAY_CHART)
    if moved is not None:
        keys.PLAY_CHART_EDIT.set(moved.edit)
        keys.PLAYGROUND.set(_settings().by_hand(moved.range.low, moved.range.high))


def _use() -> None:
    """A mark was clicked; a callback."""
    used = threshold.used(keys.PLAY_CHART)
    if used is None:
        return
    if used in {m.value for m in lesson.PLAYED}:
        _by_method(Method(used))
    elif (mark := tools.marked(used)) is not None:
        _use_range(mark.label, mark.low, mark.high)


def _use_range(_label: str, low: float, high: float) -> None:
    """A row of the table is to be used; a callback."""
    keys.PLAYGROUND.set(_settings().by_hand(low, high))


def _staircase(view: RangeView) -> None:
    words, figure = st.columns(TEXT_AND_FIGURE, gap="medium")
    e = view.encoding
    with words:
        st.subheader("The staircase", anchor=False)
        part = st.segmented_control(
            "Part of the input axis", list(WINDOWS), default="All", key="play_window", required=True
        )
        st.markdown(
            f"Every input x leaves as one of {e.qmax - e.qmin + 1:,} levels. "
            f"A step is **s = {text.number(float(e.scale), 5)}** wide, and zero is integer "
            f"**{int(e.zero_point)}**.\n\n"
            "Inside the range the output is off by at most half a step. Outside it stays at the last level, "
            "and the error grows with the distance: that is clipping.\n\n"
            "Where the grey hill is high, many values share the fate of that step."
        )
    low, high = window(view, WINDOWS[part or "All"])
    with figure:
        st.plotly_chart(
            staircase_figure(staircase(linear_codebook(e), low, high), view.histogram, low, high),
            key="play_staircase",
            config=PLAIN,
        )


def window(view: RangeView, part: str) -> tuple[float, float]:
    """Ends of a part of the input axis."""
    e, h = view.encoding, view.histogram
    step, low, high = float(e.scale), float(e.low), float(e.high)
    if part == "zero":
        return -8 * step, 8 * step
    if part == "end":
        return high - 8 * step, max(high + 8 * step, min(h.max, high + 40 * step))
    room, edge = 0.3 * (high - low), 0.04 * (high - low)
    return max(min(h.min, low), low - room) - edge, min(max(h.max, high), high + room) + edge


def _before_and_after(view: RangeView) -> None:
    words, figure = st.columns(TEXT_AND_FIGURE, gap="medium")
    with words:
        st.subheader("Before and after", anchor=False)
        error = view.error
        clipped = error.clipping_mse / error.mse if error.mse else 0.0
        st.markdown(
            "The line is how many values there were around each place, the bars how many end on each "
            "level. Tall bars at the ends are the clipped values.\n\n"
            f"Here {text.percent(error.clipped_share, 3)} of the values are clipped, and they make up "
            f"**{text.percent(clipped, 0)}** of the squared error; rounding makes the rest. "
            f"Together: MSE {text.number(error.mse)}, SQNR **{text.decibel(error.sqnr_db)}**."
        )
    with figure:
        st.plotly_chart(overlay_figure(levels(view)), key="play_overlay", config=PLAIN)


def _bits(now: Settings, view: RangeView) -> None:
    words, figure = st.columns(TEXT_AND_FIGURE, gap="medium")
    curves = cached.computed(
        ("bits", now.data, now.signed, now.symmetric), lambda: sqnr_by_bits(view.histogram, now.spec, BY_BITS)
    )
    with words:
        st.subheader("What a bit is worth", anchor=False)
        st.markdown(
            "Each further bit halves the step: rounding noise falls by 6 dB. The fewer bits there are, the "
            f"more is won by clipping.\n\n{lesson.bits_finding(curves)}"
        )
    with figure:
        st.plotly_chart(
            bits_figure(curves, [LABELS[c.method] for c in curves], now.bits),
            key="play_bits_figure",
            config=PLAIN,
        )


def _tools(now: Settings, view: RangeView) -> None:
    st.subheader("Every method, and other tools", anchor=False)
    keys.PLAY_TOOLS.set(now.tools)
    st.toggle(
        "Add the thresholds of other tools",
        key=keys.PLAY_TOOLS.name,
        on_change=_other_tools,
        help="onnxruntime, ModelOpt, PPQ, ncnn, MNN, torch.ao and more, computed from these values.",
    )
    rows: tuple[ReferenceRow, ...] = ()
    if now.tools:
        rows = cached.computed(("tools", now.data), lambda: _references(now))
        st.caption(
            "Most tools think in 8 bits and have a symmetry of their own; MSE and SQNR are those of their "
            f"range in the type that is set here ({now.spec.type})."
        )
    tools.table(view, rows, _use_range, key="play_rows")


def _references(now: Settings) -> tuple[ReferenceRow, ...]:
    with st.spinner("Computing what other tools would choose…"):
        return disagreement.compute_references(lesson.drawn(now))


def _experiment(now: Settings) -> None:
    mean, sigma = now.values.get("mean", 0.0), now.values.get("sigma", 1.0)
    draws = cached.computed(
        ("draws", now.size, now.seed, mean, sigma),
        lambda: compare_kl_admm(
            size=now.size, seeds=(now.seed, now.seed + 1, now.seed + 2), mean=mean, sigma=sigma
        ),
    )
    with st.container(border=True):
        st.subheader("KL against ADMM: three draws of normal data", anchor=False)
        st.caption(
            f"{text.plural(now.size, 'value')} a draw, int8, symmetric: the threshold T of [−T, T] beside "
            "max(|mean − 3σ|, |mean + 3σ|). Only the seed differs between the draws."
        )
        st.dataframe(lesson.draw_table(draws), hide_index=True, key="play_draws")
        words, figure = st.columns([1, 1.6], gap="medium")
        with words:
            st.markdown(f"**What is seen.** {lesson.finding(draws)}")
            st.caption(
                "Change the seed, the number of values or the mean above: all three draws follow. "
                f"{text.escape(lesson.tools_finding(draws))}"
            )
        with figure:
            st.plotly_chart(draws_figure(draws), key="play_draws_figure", config=PLAIN)
