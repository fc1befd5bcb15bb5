"""The ranking of a sensitivity run: one bar a layer, what matters most on top, with its error bars."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from quantscope.core.sensitivity import Kind, Metric, RankingRow
from quantscope.ui.content.text import decibel, number
from quantscope.ui.figures.style import BAD, COSINE_FORMULA, FLOAT, QUANTIZED, SQNR_FORMULA, label, layout

TOP = 90.0  # dB; what wins back everything is drawn here
LARGEST = 1000.0  # %; what destroys the output is drawn here
ROW = 24  # pixels
ROWS = 20  # shown at first
NO_VALUE = "no value: not finite, or of another shape"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How the values of a metric are drawn."""

    title: str
    words: str  # before a value in a sentence
    unit: str
    shown: Callable[[float], float]  # from the ranking's value, in words
    length: Callable[[float], float]  # from the ranking's value, of a bar: longer is worse, or matters more
    formula: str


def _same(value: float) -> float:
    return value


def _missing(share: float) -> float:
    return 1.0 - share


def _missing_percent(share: float) -> float:
    return 100.0 * (1.0 - share)


def _percent(share: float) -> float:
    return 100.0 * share


def error_percent(sqnr_db: float) -> float:
    """Size of the error in percent of the signal's, ‖f−q‖ / ‖f‖, from an SQNR in dB; more is worse."""
    return float(min(100.0 * 10.0 ** (-sqnr_db / 20.0), LARGEST))


_KL = "Σ p ln(p/q), mean over the rows"
_SAME_CLASS, _RIGHT_CLASS = (
    "share of rows with the same class first",
    "share of rows with the right class first",
)
# What is lost: title, words, unit, from the ranking's value, formula.
_LOST: dict[Metric, tuple[str, str, str, Callable[[float], float], str]] = {
    Metric.SQNR: (
        "error of the output, % of its size (longer is worse)",
        "output SQNR",
        "dB",
        _same,
        f"length: 100 ‖f−q‖ / ‖f‖; {SQNR_FORMULA}",
    ),
    Metric.COSINE: (
        "1 − output cosine (longer is worse)",
        "1 − output cosine",
        "",
        _missing,
        COSINE_FORMULA,
    ),
    Metric.KL: ("KL divergence of the classes, nats (longer is worse)", "KL divergence", "nats", _same, _KL),
    Metric.AGREEMENT: (
        "rows that change class, % (longer is worse)",
        "class changed in",
        "%",
        _missing_percent,
        f"100 − {_SAME_CLASS}",
    ),
    Metric.TOP1: (
        "rows with a wrong class, % (longer is worse)",
        "wrong class in",
        "%",
        _missing_percent,
        f"100 − {_RIGHT_CLASS}",
    ),
}
# What is won back: of what, its unit on the axis and in a sentence, from the ranking's value, formula.
_WON: dict[Metric, tuple[str, str, str, Callable[[float], float], str]] = {
    Metric.SQNR: ("output SQNR", ", dB", "dB", _same, SQNR_FORMULA),
    Metric.COSINE: ("output cosine", "", "of cosine", _same, COSINE_FORMULA),
    Metric.KL: ("KL divergence", ", nats", "nats", _same, _KL),
    Metric.AGREEMENT: ("agreement", ", percentage points", "pp", _percent, _SAME_CLASS),
    Metric.TOP1: ("top-1", ", percentage points", "pp", _percent, _RIGHT_CLASS),
}


def axis(kind: Kind, metric: Metric) -> Axis:
    """How a ranking is drawn: what is lost, or with one layer off, what is won back."""
    if kind is not Kind.DISABLE:
        title, words, unit, shown, formula = _LOST[metric]
        length = error_percent if metric is Metric.SQNR else shown
        return Axis(title=title, words=words, unit=unit, shown=shown, length=length, formula=formula)
    what, of, unit, shown, formula = _WON[metric]
    title = f"{what} won back{of} (longer matters more)"
    return Axis(title=title, words="wins back", unit=unit, shown=shown, length=shown, formula=formula)


def sensitivity_figure(scores: Sequence[RankingRow], kind: Kind, metric: Metric) -> go.Figure:
    """Bars by rank, the first on top; flagged ones stand out; values that are not numbers leave a gap.

    The vertical axis counts the bars from 1, so that a click tells which one it was.
    """
    drawn = axis(kind, metric)
    figure = go.Figure()
    places = list(enumerate(scores, 1))
    for flagged, name, colour in ((True, "stands out (beyond median + 3 IQR)", BAD), (False, "", QUANTIZED)):
        part = [(y, score) for y, score in places if score.flagged is flagged]
        if not part:
            continue
        ends = [_ends(score, drawn) for _, score in part]
        figure.add_bar(
            y=[y for y, _ in part],
            x=[value for value, _, _ in ends],
            orientation="h",
            name=name or "operator type" if kind is Kind.OP_TYPE else name or "layer",
            marker={"color": colour, "opacity": 0.65},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - value if value is not None else 0.0 for value, _, high in ends],
                "arrayminus": [value - low if value is not None else 0.0 for value, low, _ in ends],
                "color": FLOAT,
                "thickness": 1.8,
                "width": 4,
            },
            customdata=[_words(score, drawn) for _, score in part],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}, 90 % interval %{customdata[2]}<br>"
            f"rank %{{customdata[3]}}, interval %{{customdata[4]}}<br><i>{drawn.formula}</i><extra></extra>",
        )
    layout(figure, x=drawn.title, y="", height=90 + ROW * len(scores), legend=any(s.flagged for s in scores))
    figure.update_layout(barmode="overlay", bargap=0.25)
    figure.update_yaxes(
        range=[len(scores) + 0.6, 0.4],
        tickmode="array",
        tickvals=[y for y, _ in places],
        ticktext=[f"{label(score.name, 40)}{_beside(score, drawn)}" for score in scores],
        showgrid=False,
        zeroline=False,
    )
    return figure


def _beside(score: RankingRow, drawn: Axis) -> str:
    """The value beside a name, where the bar's length is in another unit."""
    if drawn.length is drawn.shown or math.isnan(score.value):
        return ""
    return f"  <b>{decibel(score.value)}</b>"


def _ends(score: RankingRow, drawn: Axis) -> tuple[float | None, float, float]:
    """Value, lower and upper end as drawn; None where there is no value."""
    if math.isnan(score.value):
        return None, 0.0, 0.0
    value = _finite(drawn.length(score.value))
    ends = [value if math.isnan(end) else _finite(drawn.length(end)) for end in (score.low, score.high)]
    return value, min(*ends, value), max(*ends, value)


def _finite(value: float) -> float:
    return max(min(value, TOP), -TOP) if math.isinf(value) else value


def _words(score: RankingRow, drawn: Axis) -> list[str]:
    value, low, high = (drawn.shown(v) for v in (score.value, score.low, score.high))
    low, high = min(low, high), max(low, high)
    said = NO_VALUE if math.isnan(value) else f"{number(value)} {drawn.unit}".strip()
    return [
        label(score.name, 60),
        said,
        f"{number(low)} … {number(high)}",
        str(score.rank),
        f"{score.rank_low} … {score.rank_high}",
    ]
