"""What all figures share: colours that read on light and dark, margins, and how names are written."""

from typing import TypedDict

import plotly.graph_objects as go

from quantscope.ui.content.text import safe_html, short

FLOAT = "#8b93a7"  # the float model, and what is left of it
QUANTIZED = "#6d6cf0"
GOOD, WARN, BAD = "#12a150", "#e8910c", "#e5484d"
ACCENT = "#0e9bb8"
# SQNR in dB from bad to good; the same in the graph and in every chart.
SQNR_LOW, SQNR_HIGH = 5.0, 45.0
SQNR_SCALE = ("#e5484d", "#f0883e", "#e3b341", "#86c06c", "#2da44e")

SQNR_FORMULA = "SQNR = 10 log₁₀(Σf² / Σ(f−q)²)"
COSINE_FORMULA = "cosine = f·q / (‖f‖‖q‖)"


class Arrangement(TypedDict):
    """A figure's layout, in plotly's names."""

    height: int
    margin: dict[str, int]
    xaxis: dict[str, object]
    yaxis: dict[str, object]
    showlegend: bool
    legend: dict[str, object]
    hoverlabel: dict[str, str]
    dragmode: bool
    bargap: float


def arrangement(*, x: str, y: str, height: int = 320, legend: bool = True) -> Arrangement:
    """Axis titles with units, tight margins, one hover style: the layout of a new figure."""
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 34 if legend else 12, "b": 8},
        "xaxis": {"title": {"text": x}, "automargin": True},
        "yaxis": {"title": {"text": y}, "automargin": True},
        "showlegend": legend,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "hoverlabel": {"align": "left"},
        "dragmode": False,
        "bargap": 0.1,
    }


def layout(figure: go.Figure, *, x: str, y: str, height: int = 320, legend: bool = True) -> go.Figure:
    """The same for a figure that has a layout already; changes and returns it."""
    figure.update_layout(arrangement(x=x, y=y, height=height, legend=legend))
    return figure


def label(name: str, length: int = 28) -> str:
    """A name from a model for an axis or a hover box."""
    return safe_html(short(name, length))
