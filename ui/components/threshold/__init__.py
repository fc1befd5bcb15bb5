"""The histogram whose clip lines are dragged, with the error curves below it; drawn by the browser."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from quantscope.core.quant import Range
from quantscope.ui.components.script import component_script
from quantscope.ui.session.keys import ChartEvents
from quantscope.ui.session.memory import Key

_FOLDER = Path(__file__).parent
_FILES = ("scales.js", "exact.js", "flags.js", "draw.js", "main.js")

_chart = st.components.v2.component(
    "quantscope_threshold",
    html='<div id="threshold"></div>',
    css=(_FOLDER / "style.css").read_text(encoding="utf-8"),
    js=component_script(*(_FOLDER / name for name in _FILES)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A clip line was moved."""

    range: Range
    edit: int  # number of this edit among the chart's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A clip line stands still in a drag, or was let go without a change."""

    range: Range | None  # None: let go


def moved(chart: Key[ChartEvents | None]) -> Moved | None:
    """The move of a clip line; None unless there is one."""
    events = chart.get()
    edit = events.edit if events is not None else None
    return None if edit is None else Moved(range=_range(edit), edit=int(edit["seq"]))


def held(chart: Key[ChartEvents | None]) -> Held | None:
    """The line that stands still; None unless the chart says something of it."""
    events = chart.get()
    hold = events.hold if events is not None else None
    return None if hold is None else Held(range=_range(hold) if "low" in hold else None)


def used(chart: Key[ChartEvents | None]) -> str | None:
    """Id of the mark that was clicked; None unless there is one."""
    events = chart.get()
    use = events.use if events is not None else None
    return None if use is None else use["method"]


def _range(event: Mapping[str, float]) -> Range:
    return Range(float(event["low"]), float(event["high"]))


def threshold_chart(
    payload: Mapping[str, object],
    *,
    key: str,
    on_edit: Callable[[], None],
    on_use: Callable[[], None],
    on_hold: Callable[[], None] | None = None,
    held: bool = False,
) -> None:
    """Draw `payload` (made by `payload.build`).

    `moved` tells which range it is while `on_edit` runs: a clip line was moved. `held` tells it while
    `on_hold` runs: a line stands still in a drag. `used` tells whose mark was clicked while `on_use` runs.
    The argument `held` says that the page still shows a line held.
    """
    data = {**payload, "follow": on_hold is not None, "held": held}
    _chart(
        key=key,
        data=data,
        on_edit_change=on_edit,
        on_use_change=on_use,
        on_hold_change=on_hold or (lambda: None),
    )
