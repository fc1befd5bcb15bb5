"""Elements that Streamlit does not have: draggable clip lines, a graph of layers, cards, rows of figures."""

from quantscope.ui.components.cards import Card, Tone, cards
from quantscope.ui.components.figures import NetworkFigure, network_figures, tensor_figures
from quantscope.ui.components.graph import layer_graph
from quantscope.ui.components.samples import gallery
from quantscope.ui.components.steps import StepCell, StepRow, step_list
from quantscope.ui.components.threshold import threshold_chart

__all__ = [
    "Card",
    "NetworkFigure",
    "StepCell",
    "StepRow",
    "Tone",
    "cards",
    "gallery",
    "layer_graph",
    "network_figures",
    "step_list",
    "tensor_figures",
    "threshold_chart",
]
