"""Cards with one figure each, the formula on hover or focus; they wrap instead of cutting text off."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from quantscope.ui.components.script import component_script

_FOLDER = Path(__file__).parent

_cards = st.components.v2.component(
    "quantscope_cards",
    html='<div id="cards"></div>',
    css=(_FOLDER / "style.css").read_text(encoding="utf-8"),
    js=component_script(_FOLDER / "main.js"),
)


Tone = Literal["", "good", "bad"]  # style.css has a class for each


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One figure."""

    name: str
    value: str
    note: str = ""
    change: str = ""  # against float
    tone: Tone = ""  # of the change
    over: str = ""  # what it was measured over
    doubt: bool = False  # figures over that cannot be trusted: said in amber
    moved: tuple[str, ...] = ()  # quiet lines: the change since the step before, the distance to a baseline
    tip: str = ""  # formula, unit, where it was measured
    waiting: bool = False  # the figure is being measured; an old one is never shown


def cards(
    items: Sequence[Card],
    *,
    key: str,
    least: int = 150,
    columns: int = 0,
    flat: bool = False,
    lines: int = 0,
) -> None:
    """Draw cards side by side; with `columns` 0 as many as fit with `least` pixels each.

    `lines` is how many quiet lines below the figures keep their place while there is nothing in them.
    """
    shown = [asdict(item) for item in items]
    data = {"items": shown, "least": least, "columns": columns, "flat": flat, "lines": lines}
    _cards(key=key, data=data)
