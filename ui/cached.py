"""Everything kept between runs of a page, and the only place with st.cache_*: jobs, results, curves."""

import threading
from typing import Any

import streamlit as st

from ui.jobs import Newest, Registry


@st.cache_resource(show_spinner=False)
def registry() -> Registry:
    """Background jobs of this process; opened projects are the results of theirs."""
    return Registry()


@st.cache_resource(show_spinner=False)
def latest(name: str, project: str) -> Newest:
    """The background worker `name` of a project: only its newest request counts."""
    return Newest(keep=2 if name == "verified" else 48)  # verified files are as large as the model


@st.cache_resource(show_spinner=False)
def turn() -> threading.Lock:
    """Held by the one measurement that runs: two at a time would spoil each other's latency."""
    return threading.Lock()


@st.cache_resource(show_spinner=False, max_entries=64)
def keep(key: tuple[Any, ...]) -> dict[str, Any]:
    """A place to keep what follows from `key`; shared by all pages and sessions."""
    return {}
