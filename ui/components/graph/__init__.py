"""The model as a graph of layers in groups, coloured by error; a click or Enter opens a layer."""

from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st

from quantscope.ui.components.script import component_script

_FOLDER = Path(__file__).parent

_graph = st.components.v2.component(
    "quantscope_graph",
    html='<div id="graph"></div>',
    css=(_FOLDER / "style.css").read_text(encoding="utf-8"),
    js=component_script(*(_FOLDER / name for name in ("layout.js", "draw.js", "main.js"))),
)


def layer_graph(data: Mapping[str, object], *, key: str, on_open: Callable[[], None]) -> None:
    """Draw `data` (made by `figures.graph.graph_data`).

    `keys.GRAPH.get().open` is {name} while `on_open` runs: a layer was chosen.
    """
    _graph(key=key, data=dict(data), on_open_change=on_open)
