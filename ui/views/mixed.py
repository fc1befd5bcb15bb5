"""Mixed precision: which layers get more bits, as a chart of cost against error whose points can be used."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from quantscope.core.errors import RecipeError
from quantscope.core.targets import target
from quantscope.core.tuning.mixed import PRECISIONS, Cost, Front, Point
from quantscope.ui.content import text
from quantscope.ui.figures.mixed import front_figure, lost
from quantscope.ui.runs import mixed_precision
from quantscope.ui.runs.mixed_precision import MixedRun
from quantscope.ui.session import keys, state
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.session.keys import MixedChoices
from quantscope.ui.views import common, job_progress

COSTS = {Cost.SIZE: "File size", Cost.LATENCY: "Estimated time"}
PLAIN = {"displayModeBar": False}
FRONT_HELP = "The front: models of which none is both cheaper and closer to float than another."


def render(now: state.Session) -> None:
    """Draw the section."""
    with st.container(border=True):
        st.markdown("**Mixed precision** — what more bits for some layers buy")
        st.caption(
            "Looks for the layers that deserve int16 or float. Every point of the chart is a complete model, "
            "measured on samples that neither the search nor the thresholds have seen. Layers whose "
            "precision you have set keep it; model fixes and methods stay. Better methods cost no bits: "
            "try *Auto-tune* on the Overview first."
        )
        if now.opened.samples is None:
            st.info("The calibration data are not there any more, so that nothing can be measured.")
            return
        job = mixed_precision.job(now.project.id)
        _controls(now, job)
        if job is None:
            return
        if job.active:
            job_progress.watch("mixed", lambda: mixed_precision.job(now.project.id))
        elif job.state is State.CANCELLED:
            st.info("It was cancelled before the front was measured.")
        elif job.error:
            st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
        elif job.result is not None:
            _result(now, job.result)


def _controls(now: state.Session, job: Job[object] | None) -> None:
    last = keys.MIXED_CHOICES.get()
    there = [p for p in PRECISIONS if p in target(now.recipe.target).precisions]
    _begin_cost()
    if not keys.MIXED_ALLOWED.there():
        keys.MIXED_ALLOWED.set(last.allowed if last is not None else there)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        cost = st.segmented_control(
            "Save", list(COSTS), format_func=lambda c: COSTS[c], key=keys.MIXED_COST.name, required=True
        )
        allowed = st.pills("Precisions", there, key=keys.MIXED_ALLOWED.name, selection_mode="multi")
        busy = job is not None and job.active
        st.button(
            "Find the front" if job is None else "Find again",
            key="start_mixed",
            icon=":material/query_stats:",
            disabled=busy or len(allowed) < 2,
            help="Choose at least two precisions." if len(allowed) < 2 else FRONT_HELP,
            on_click=_begin,
        )
    keys.MIXED_CHOICES.set(MixedChoices(cost=cost or Cost.SIZE, allowed=allowed))


def _begin_cost() -> None:
    last = keys.MIXED_CHOICES.get()
    common.begin(keys.MIXED_COST, COSTS, last.cost if last is not None else Cost.SIZE)


def _begin() -> None:
    now = state.session()
    if now is not None:
        _begin_cost()
        keys.MIXED_POINT.pop()
        mixed_precision.start(now, keys.MIXED_COST.get(), keys.MIXED_ALLOWED.get())


def _result(now: state.Session, found: MixedRun) -> None:
    front = found.front
    chosen = keys.MIXED_POINT.get()
    points = (*front.points, *front.beaten)
    chosen = chosen if chosen is not None and chosen < len(points) else None
    _goal(front)
    st.plotly_chart(
        front_figure(front, chosen, _used(now, points)),
        key=keys.MIXED_CHART.name,
        on_select=_picked,
        selection_mode="points",
        config=PLAIN,
    )
    where = "kept for judging" if front.held_out else "that also chose (too few to hold any out)"
    st.caption(
        f"{text.plural(len(front.points), 'point')} on the front, from {front.searched:,} assignments "
        f"simulated; measured on {text.plural(front.samples, 'sample')} {where}. "
        + " ".join(text.escape(note) for note in front.notes)
    )
    current = state.recipe_token(now.recipe) in found.tokens
    if not current:
        st.caption(f"{text.EARLIER.capitalize()}: other layers may deserve more bits by now.")
    if chosen is not None:
        _point(now, front, points[chosen], beaten=chosen >= len(front.points), current=current)
    else:
        st.markdown(":material/ads_click: Click a point to see its layers and to use it.")


def _used(now: state.Session, points: Sequence[Point]) -> int | None:
    """Which point has the shown recipe; None if none has."""
    shown = state.recipe_token(now.recipe)
    return next((n for n, point in enumerate(points) if state.recipe_token(point.recipe) == shown), None)


def _goal(front: Front) -> None:
    """The cheapest point that loses little enough."""
    if front.points[0].drop is None:
        return
    if not keys.MIXED_DROP.there():
        keys.MIXED_DROP.set(keys.MIXED_DROP_KEPT.get())
    with st.container(horizontal=True, vertical_alignment="bottom"):
        most = st.number_input(
            "Points of top-1 that may be lost" if front.labelled else "Rows that may change class, %",
            min_value=0.0,
            max_value=100.0,
            step=0.1,
            format="%.2f",
            key=keys.MIXED_DROP.name,
            width=250,
        )
        st.button("Show the cheapest", key="find_cheapest", on_click=_cheapest, args=(front,))
    keys.MIXED_DROP_KEPT.set(most)
    if warning := keys.MIXED_WARNING.pop():
        st.warning(text.escape(warning), icon=":material/info:")


def _cheapest(front: Front) -> None:
    try:
        point = front.cheapest(max_drop=keys.MIXED_DROP.get())
    except RecipeError as error:
        keys.MIXED_WARNING.set(f"{error}.")
    else:
        keys.MIXED_POINT.set(front.points.index(point))


def _picked() -> None:
    point = common.clicked(keys.MIXED_CHART)
    if point is not None:
        keys.MIXED_POINT.set(int(point["customdata"][0]))


def _point(now: state.Session, front: Front, point: Point, *, beaten: bool, current: bool) -> None:
    in_use = state.recipe_token(now.recipe) == state.recipe_token(point.recipe)
    share = 100.0 * point.size_bytes / front.float_bytes
    words = [
        f"**{text.size(point.size_bytes)}** ({share:.0f} % of float)",
        f"estimated time {100.0 * point.time:.0f} % of float",
        f"output SQNR **{text.decibel(point.sqnr_db)}**",
        lost(point, front),
        ":orange[another point costs no more and is no less exact]" if beaten else "",
        "" if current else ":orange[using it drops what was changed in the recipe since]",
    ]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "In use" if in_use else "Use this recipe",
            key="use_mixed",
            type="primary",
            icon=":material/check:",
            disabled=in_use,
            on_click=_use,
            args=(point,),
        )
        st.markdown(" · ".join(word for word in words if word))
    if not point.layers:
        st.markdown(f"Every layer that is free to choose has {front.lowest}.")
        return
    with st.expander(f"{text.plural(len(point.layers), 'layer')} above {front.lowest}", expanded=True):
        st.dataframe(
            pd.DataFrame(point.layers, columns=["layer", "precision"]),
            hide_index=True,
            width="stretch",
            height=min(320, 38 + 35 * len(point.layers)),
            key="mixed_layers",
        )


def _use(point: Point) -> None:
    state.edit(lambda _: point.recipe, f"mixed precision, {text.plural(len(point.layers), 'layer')} raised")
