"""The row of figures above a clip line: the tensor's, which follow the hand, and the whole network's."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from quantscope.ui.components.payload import FORMULAS, NAMES
from quantscope.ui.components.script import component_script

_FOLDER = Path(__file__).parent
_STYLE = (_FOLDER / "style.css").read_text(encoding="utf-8")
_FORMATS = _FOLDER.parent / "threshold" / "scales.js"

_tensor = st.components.v2.component(
    "quantscope_tensor_figures",
    html='<div id="figures" class="figures tensor"></div>',
    css=_STYLE,
    js=component_script(_FORMATS, _FOLDER / "items.js", _FOLDER / "tensor.js"),
)
_network = st.components.v2.component(
    "quantscope_network_figures",
    html='<div id="network" class="figures network"></div>',
    css=_STYLE,
    js=component_script(_FOLDER / "items.js", _FOLDER / "network.js"),
)

_LESSER = ("cosine", "mse", "kl")
Tone = Literal["", "good", "bad", "amber"]  # style.css has a class for each


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFigure:
    """One figure of the network."""

    key: str
    name: str
    value: str
    note: str = ""  # how it changed, or what it is over
    tone: Tone = ""  # of the note
    tip: str = ""  # formula, unit, where it was measured
    small: bool = False  # in a line of its own, without a note
    waiting: bool = False  # it is being measured; an old one is never shown


def tensor_figures(*, key: str, heading: str = "This tensor") -> None:
    """Draw the tensor's figures; the threshold chart on the page tells the browser what they are."""
    items = [
        {"key": name, "name": NAMES[name], "tip": FORMULAS[name], "small": name in _LESSER} for name in NAMES
    ]
    _tensor(key=key, data={"heading": heading, "items": items})


def network_figures(
    figures: Sequence[NetworkFigure], *, key: str, about: str, token: str, doubt: str = ""
) -> None:
    """Draw the network's figures.

    Args:
        figures: In order.
        key: Of the element.
        about: Over which samples they are, and against what.
        token: Names their recipe; the browser marks them as outdated as soon as a clip line moves, until
            they are drawn with another token.
        doubt: Why figures of quality over these samples cannot be trusted; nothing where they can.
    """
    _network(
        key=key,
        data={
            "heading": "Whole network",
            "about": about,
            "doubt": doubt,
            "items": [asdict(figure) for figure in figures],
            "token": token,
        },
    )
