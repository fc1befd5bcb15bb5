"""Elements that Streamlit does not have: draggable clip lines, a graph of layers, figure cards."""

from quantscope.ui.components.cards import Card, Tone, cards
from quantscope.ui.components.graph import layer_graph
from quantscope.ui.components.samples import gallery
from quantscope.ui.components.threshold import threshold_chart

__all__ = ["Card", "Tone", "cards", "gallery", "layer_graph", "threshold_chart"]
