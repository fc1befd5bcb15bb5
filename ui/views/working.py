"""A background job where it was started: how far it is, and the way to stop it."""

from collections.abc import Callable

import streamlit as st

from ui import text
from ui.components.refresh import signal
from ui.jobs import Job
from ui.views.common import guarded

Find = Callable[[], Job | None]


def watch(name: str, find: Find, *, keeps: bool = False) -> None:
    """Follow a running job until it has ended; then the page is drawn anew.

    Args:
        name: Of the job among those of the page; part of the keys of its widgets.
        find: The job; asked again on each look.
        keeps: A stopped job keeps what it has found.
    """
    st.fragment(guarded(_look), run_every=0.4)(name, find, keeps)


def _look(name: str, find: Find, keeps: bool) -> None:
    job = running(name, find())
    if job is not None:
        line(job, name, said(job), keeps=keeps)


def running(name: str, job: Job | None) -> Job | None:
    """The job as long as it runs; else asks for a new drawing of the page. For use in a part that polls."""
    if job is not None and job.active:
        return job
    signal(name, f"{job.id} {job.ended}" if job is not None else "")
    return None


def said(job: Job) -> str:
    """What it does, how much of that is done, and for how long it will go on."""
    p, left = job.progress, job.seconds_left
    words = text.escape(p.label or "starting")
    if p.total:
        words += f" · {p.done:,} of {p.total:,}"
    return (
        f"{words} · about {text.about(left)} left"
        if left is not None
        else (f"{words} · {text.duration(job.elapsed)}")
    )


def line(
    job: Job, name: str, words: str, *, keeps: bool = False, stop: Callable[[], None] | None = None
) -> None:
    """The bar with its words, and the button that stops: the job alone, unless `stop` does more."""
    stopping = job.stop.is_set()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(job.share, "Stopping…" if stopping else words, width="stretch")
        st.button(
            "Stop and keep what was found" if keeps else "Cancel",
            key=f"cancel_{name}",
            icon=":material/stop:",
            on_click=stop or job.cancel,
            disabled=stopping,
        )
