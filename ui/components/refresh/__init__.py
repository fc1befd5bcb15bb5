"""A new run of a part of the page that polls, or of the whole page, asked for through the browser."""

import time
from pathlib import Path

import streamlit as st

from quantscope.ui.components.script import component_script
from quantscope.ui.session import keys

AGAIN = 2.0  # seconds

_refresh = st.components.v2.component(
    "quantscope_refresh",
    html="<span></span>",
    js=component_script(Path(__file__).parent / "main.js"),
)


def listen(project: str = "", step: str = "") -> None:
    """Take part in the page, once, outside of fragments: runs the page again when `signal` was drawn.

    Also where another tab of the same browser shows another step of the same project.

    Args:
        project: Which one is open, or nothing.
        step: What tells its shown step from others.
    """
    _refresh(
        key=keys.WINDOW.name,
        data={"signal": False, "wide": wide(), "project": project, "step": step},
        height=1,
        on_ready_change=lambda: None,
        on_wide_change=lambda: None,
    )


def wide() -> bool:
    """Whether the browser's window has room to spare; False until it has said so."""
    known = keys.WINDOW.get()
    return bool(known is not None and known.get("wide"))


def signal(key: str, token: str) -> None:
    """Ask for a new run; for use in a fragment that polls, which the new run replaces.

    Repeated every two seconds until then: a listener that is moving to a new place in the page misses it.
    """
    again = int(time.monotonic() / AGAIN)
    _refresh(key=f"signal_{key}", data={"signal": True, "token": f"{token} {again}"}, height=1)


def tick(key: str, every: float) -> None:
    """Run the fragment that draws this again, `every` seconds from now."""
    _refresh(
        key=f"tick_{key}",
        data={"every": round(every * 1000), "count": time.monotonic_ns()},
        height=1,
        on_tick_change=lambda: None,
    )


def glance(key: str, every: float) -> None:
    """As `tick`, for a look now and then that goes on for as long as the page is seen."""
    _refresh(
        key=f"glance_{key}",
        data={"every": round(every * 1000), "seen": True, "count": time.monotonic_ns()},
        height=1,
        on_tick_change=lambda: None,
    )
