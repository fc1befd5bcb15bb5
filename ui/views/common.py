"""What several pages need: headers, empty states, a job's progress, and errors said in words."""

import functools
import logging
from collections.abc import Callable, Container
from typing import ParamSpec, TypedDict, TypeVar, cast

import streamlit as st
from streamlit.elements.plotly_chart import PlotlyState

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Project
from quantscope.ui.components.refresh import signal, tick
from quantscope.ui.content import text
from quantscope.ui.runs import measured
from quantscope.ui.session import keys, locating, state
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.session.keys import FollowingWidget, Page
from quantscope.ui.session.memory import Key, uninterrupted
from quantscope.ui.session.pool import Measurement
from quantscope.ui.views import locate

log = logging.getLogger("quantscope")
P = ParamSpec("P")
T = TypeVar("T")


def guarded(draw: Callable[P, None]) -> Callable[P, None]:
    """A page or fragment whose errors are said in words; the details go to the server's log."""

    @functools.wraps(draw)
    def page(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            draw(*args, **kwargs)
        except QuantScopeError as error:
            st.error(text.escape(text.sentence(str(error))), icon=":material/error:")
        except Exception as error:
            log.exception("drawing %s failed", draw.__name__)
            what = text.escape(f"{type(error).__name__}: {error}")
            st.error(
                f"Something went wrong here ({what}). "
                "Your recipe is saved; the server's log says more. Undo the last change, or reload the page.",
                icon=":material/error:",
            )

    return page


def poll(name: str, every: float, draw: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Draw a part of the page, and again every so many seconds for as long as the page draws it.

    Args:
        name: Of the part among those of the page that poll.
        every: Seconds between one drawing's end and the next one.
        draw: Draws it.
        args: For `draw`.
        kwargs: For `draw`.
    """

    @functools.wraps(draw)
    def part(*args: P.args, **kwargs: P.kwargs) -> None:
        guarded(draw)(*args, **kwargs)
        tick(name, every)

    st.fragment(part)(*args, **kwargs)


def go(page: Page) -> None:
    """Switch to a page, keeping the project in the address."""
    opened = state.project()
    st.switch_page(
        keys.PAGES.get()[page],
        query_params={keys.PROJECT_IN_ADDRESS.name: opened.id} if opened is not None else None,
    )


def title(name: str, help: str) -> None:
    """A page's heading, with what the page answers below it."""
    st.title(name, anchor=False)
    st.caption(help)
    notice()


def notice() -> None:
    """What the last action could not do, and what another window did."""
    if news := state.news():
        st.info(text.escape(news), icon=":material/sync:")
    if refused := keys.NOTICE.pop():
        st.error(text.escape(text.sentence(refused)), icon=":material/error:")


def session(page: str) -> state.Session | None:
    """The open project; where it is not there yet, the page says what to do or how far it is."""
    opened = state.project()
    if opened is None:
        empty("No model is open", f"Open a sample or your own model first; {page}", "Open a model", Page.OPEN)
        return None
    ready = state.session()
    if ready is None:
        job = state.job()
        if job is not None and job.state is State.DONE:
            st.rerun()  # it ended while the page was being drawn
        preparing()
        return None
    if ready.workspace.samples is None and (gone := locating.missing(opened.data)):
        locate.data(ready, gone)
    if ready.workspace.statistics.synthetic:
        st.warning(
            "**Calibrated on random noise.** Every range, error and figure below comes from made-up inputs: "
            "good for trying the tool, useless for judging or shipping this model. "
            "Give real samples on *Open*.",
            icon=":material/casino:",
        )
    return ready


def empty(heading: str, words: str, button: str, page: Page) -> None:
    """An empty state: what is missing and the way there."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.subheader(heading, anchor=False, text_alignment="center")
        st.markdown(words, text_alignment="center")
        if st.button(button, type="primary", key=f"empty_{page}"):
            go(page)


def preparing() -> None:
    """Progress of the job that gets the project ready; ends in the page, or in what went wrong."""
    job = state.job()
    at = job.state if job is not None else State.DONE  # read once: it may end at any moment
    if at is not State.DONE:
        progress_panel(at is State.RUNNING)


def begin(key: Key[T], offered: Container[object], first: T) -> None:
    """Let a widget begin with a value that is offered, also where what was chosen no longer is.

    A widget whose first value is set by program may send that nothing is chosen, `required` or not: where the
    next run comes before the browser has drawn it.
    """
    if not key.there() or key.get() not in offered:
        key.set(first)


def follow(name: str, value: T) -> tuple[str, T]:
    """Key and first value of a widget that shows `value`, also when the program changed it: undo, a drag.

    As long as the widget's own value is what it is to show, its key stays, and the keyboard's focus with it.
    Otherwise it is a new widget: one that is set by program may come back as if the user had changed it,
    where a redraw of the page crosses it. Its changes go through `changed`.
    """
    key, first = keys.following(name).get() or FollowingWidget(f"{name}_0", value)
    now = keys.value_of(key)
    if (now.get() if now.there() else first) != value:
        key, first = f"{name}_{int(key.removeprefix(f'{name}_')) + 1}", value
    keys.following(name).set(FollowingWidget(key, first))
    return key, cast(T, first)  # a widget's values are of one type


@uninterrupted
def changed(key: str, act: Callable[..., None], *args: object) -> None:
    """Call `act(value, *args)` for a changed widget that follows; for use as a callback.

    A widget that is no longer drawn is ignored: a poll may deliver its last value late, as if it were new.
    """
    known = keys.following(key.rpartition("_")[0]).get()
    if known is not None and known.key == key:
        act(keys.value_of(key).get(), *args)


class ClickedPoint(TypedDict):
    """A point of a chart, as Plotly describes it."""

    x: float
    y: float
    customdata: list[float]  # only where the figure has such data


def clicked(chart: Key[PlotlyState | None]) -> ClickedPoint | None:
    """The point of a chart that was clicked; for use in callbacks."""
    chosen = chart.get()
    if chosen is None or not chosen.selection.points:
        return None
    return cast(ClickedPoint, chosen.selection.points[0])


def running(name: str, job: Job[T] | None) -> Job[T] | None:
    """The job as long as it runs; else asks for a new drawing of the page. For use in a part that polls."""
    if job is not None and job.active:
        return job
    signal(name, f"{job.id} {job.ended}" if job is not None else "")
    return None


def progress_words(job: Job[object]) -> str:
    """What it does, how much of that is done, and for how long it will go on."""
    p, left = job.progress, job.seconds_left
    words = text.escape(p.label or "starting")
    if p.total:
        words += f" · {p.done:,} of {p.total:,}"
    time = f"about {text.about(left)} left" if left is not None else text.duration(job.elapsed)
    return f"{words} · {time}"


def progress_panel(active: bool) -> None:
    """Progress, time left and Cancel, polling while the job runs; then what became of it."""
    job = state.job()
    if active:
        poll("job", 0.4, _progress)
    elif job is not None and job.state in (State.FAILED, State.CANCELLED):
        _ended(job)


def _progress() -> None:
    job = running("job", state.job())
    if job is None:
        return
    with st.container(border=True):
        st.markdown(f"**{text.escape(job.title)}**")
        st.progress(job.share, progress_words(job))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Cancel",
                icon=":material/stop:",
                on_click=job.cancel,
                key="cancel_job",
                disabled=job.stop.is_set(),
            )
            st.caption(
                "Stopping after the samples in work…"
                if job.stop.is_set()
                else "You may leave this page or reload it: the work goes on."
            )


def _ended(job: Job[object]) -> None:
    opened = state.project()
    if opened is not None and (gone := locating.missing_model(opened)):
        locate.render(opened, gone)
        return
    if job.state is State.CANCELLED:
        st.warning(f"{job.title} was cancelled.", icon=":material/cancel:")
    else:
        st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
    with st.container(horizontal=True):
        if opened is not None:
            st.button(
                "Try again", icon=":material/refresh:", key="retry_job", on_click=_retry, args=(opened,)
            )
        st.button("Open another model", icon=":material/folder_open:", key="leave_job", on_click=_leave)


def _retry(opened: Project) -> None:
    state.retry(opened)


def _leave() -> None:
    state.show(None)
    keys.GO.set(Page.OPEN)


def polling(active: bool, *kinds: Measurement[object], seen: frozenset[str] | None = None) -> None:
    """Redraw the page whenever one of its figures is there, as long as one is under way.

    Args:
        active: Whether one is.
        kinds: Those on the page; polling shows that they are still wanted.
        seen: Those that were there before the page asked for them (`measured.ready`), where much is done in
            between: what arrives meanwhile is not drawn. None = those that are there now.
    """
    now = state.session()
    # Takes no place (page.css), so that nothing below moves when it comes and goes.
    with st.container(key=f"polling_{'_'.join(kind.name.replace(' ', '_') for kind in kinds)}"):
        if active and now is not None:
            poll(
                "page",
                0.25,
                _poll,
                state.recipe_token(now.recipe),
                kinds,
                measured.ready(now, kinds) if seen is None else seen,
            )


def _poll(token: str, kinds: tuple[Measurement[object], ...], before: frozenset[str]) -> None:
    now = state.session()
    shown = "" if now is None else state.recipe_token(now.recipe)
    there = frozenset() if now is None else measured.ready(now, kinds)
    waiting = now is not None and measured.waiting(kinds)
    if shown != token or there != before or not waiting:
        signal("poll", f"{shown} {sorted(there)} {waiting}")
