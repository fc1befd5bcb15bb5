"""Elements that Streamlit does not have: draggable clip lines, a graph of layers, figure cards."""

from ui.components.cards import Card, cards
from ui.components.graph import layer_graph
from ui.components.threshold import threshold_chart

__all__ = ["Card", "cards", "layer_graph", "threshold_chart"]
