"""A background job where it was started: how far it is, and the way to stop it."""

from collections.abc import Callable

import streamlit as st

from quantscope.ui.session.jobs import Job
from quantscope.ui.views.common import poll, progress_words, running

Find = Callable[[], Job[object] | None]


def watch(name: str, find: Find, *, keeps: bool = False) -> None:
    """Follow a running job until it has ended; then the page is drawn anew.

    Args:
        name: Of the job among those of the page; part of the keys of its widgets.
        find: The job; asked again on each look.
        keeps: A stopped job keeps what it has found.
    """
    poll(name, 0.4, _look, name, find, keeps)


def _look(name: str, find: Find, keeps: bool) -> None:
    job = running(name, find())
    if job is not None:
        line(job, name, progress_words(job), keeps=keeps)


def line(
    job: Job[object], name: str, words: str, *, keeps: bool = False, stop: Callable[[], None] | None = None
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
