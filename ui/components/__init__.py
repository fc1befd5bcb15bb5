"""Interactive elements that Streamlit does not have: the histogram with draggable clip lines."""

from ui.components.threshold import threshold_chart

__all__ = ["threshold_chart"]
