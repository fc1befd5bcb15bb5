"""Elements that Streamlit does not have: draggable clip lines, a graph of layers, cards, rows of figures."""

from quantscope.ui.components.cards import Card, Tone, cards
from quantscope.ui.components.figures import NetworkFigure, network_figures, tensor_figures
from quantscope.ui.components.graph import layer_graph
from quantscope.ui.components.threshold import threshold_chart

__all__ = [
    "Card",
    "NetworkFigure",
    "Tone",
    "cards",
    "layer_graph",
    "network_figures",
    "tensor_figures",
    "threshold_chart",
]
