"""Interactive elements that Streamlit does not have: a histogram with draggable clip lines, figure cards."""

from ui.components.cards import Card, cards
from ui.components.threshold import threshold_chart

__all__ = ["Card", "cards", "threshold_chart"]
