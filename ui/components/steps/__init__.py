"""The steps of a history as a tree with their figures; a click chooses a step, a tick marks it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from quantscope.ui.components.script import component_script

_FOLDER = Path(__file__).parent

_steps = st.components.v2.component(
    "quantscope_steps",
    html='<div id="steps"></div>',
    css=(_FOLDER / "style.css").read_text(encoding="utf-8"),
    js=component_script(_FOLDER / "main.js"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCell:
    """One figure of a step."""

    text: str
    change: str = ""  # since the step it was made from
    tone: str = ""  # "good" or "bad", of the change


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One step."""

    number: int
    lane: int
    parent: int  # 0 = none
    label: str  # what was changed
    name: str  # that the user gave it; "" = none
    time: str
    cells: tuple[StepCell, ...]  # one for each head
    shown: bool = False
    pinned: bool = False
    hidden: bool = False
    ticked: bool = False


def step_list(
    rows: Sequence[StepRow],
    heads: Sequence[str],
    *,
    chosen: int,
    key: str,
    on_choose: Callable[[], None],
    on_tick: Callable[[], None],
) -> None:
    """Draw steps, the newest first.

    `keys.HISTORY_LIST.get().choose` is {number} while `on_choose` runs, `.tick` is {numbers} while `on_tick`
    does: all that are ticked.
    """
    data = {"rows": [asdict(row) for row in rows], "heads": list(heads), "chosen": chosen}
    _steps(key=key, data=data, on_choose_change=on_choose, on_tick_change=on_tick)
