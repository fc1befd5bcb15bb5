"""What the browser needs to draw a tensor's histogram and curves, as plain numbers."""

from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache

import numpy as np

from quantscope.core.calibration import Histogram
from quantscope.core.quant import ScaleRule
from quantscope.core.thresholds import Family, Method, fits
from quantscope.ui.content import text
from quantscope.ui.content.tensor_view import LABELS, Curve, Mark, RangeView, clipped, curve

BINS = 2048  # of the histogram on screen, at most

NAMES = {
    "range": "Range kept",
    "share": "Clipped",
    "sqnr": "SQNR",
    "cosine": "Cosine",
    "mse": "MSE",
    "kl": "KL divergence",
}
FORMULAS = {
    "range": "Values in [low, high] keep their place, others are clipped.\n"
    "q = clip(round(x / s) + z),  x\u2032 = (q − z) · s",
    "share": "Values outside the range / all finite values of the tensor, in percent.",
    "sqnr": "10 · log₁₀( Σ f² / Σ (f − q)² ), in dB. Higher is better; 6 dB are one bit.",
    "cosine": "f · q / (‖f‖ ‖q‖), no unit. 1 is the same direction.",
    "mse": "mean (f − q)², in squared units of the tensor. The sum of a clipping and a rounding part.",
    "kl": "Σ P · ln(P / Q) over histogram bins, in nats: P the values, Q what quantizing leaves of them.",
}


def payload(
    view: RangeView,
    *,
    seq: int,
    token: str = "",
    readonly: bool = False,
    heading: str = "Values seen in calibration",
    more: Sequence[Mark] = (),
) -> dict[str, object]:
    """The chart's data.

    `seq` is the newest of the chart's own edits that is in `view`; `token` names the recipe. Ranges in
    `more` are marked as those of the methods are.
    """
    h = view.histogram
    shown = _shown(h)
    high = curve(view, "high") if h.max > 0.0 or view.mode == "symmetric" else None
    low = curve(view, "low") if view.mode == "asymmetric" else None
    best = [float(np.nanmax(c.sqnr, initial=-np.inf)) for c in (high, low) if c is not None]
    floor, ceiling = _domain(view)
    return {
        "rev": f"{view.tensor}|{h.digest()[:16]}|{view.mode}|{view.spec.type}",
        "seq": seq,
        "token": token,
        "readonly": readonly,
        "heading": heading,
        "mode": view.mode,
        "bins": {
            "start": shown.first * shown.width,
            "width": shown.width,
            "counts": shown.counts.tolist(),
        },
        "fits": _fits(h, shown),
        "zeros": h.zeros,
        "total": h.count,
        "range": {"low": view.asked.low, "high": view.asked.high},
        "kept": {"low": view.range.low, "high": view.range.high},
        "ruled": view.spec.scale_rule is not ScaleRule.FREE,
        "domain": _domain(view, *(c for c in (high, low) if c is not None)),
        "floor": floor,
        "ceiling": ceiling,
        "least": (h.abs_max or 1.0) / 1000,
        "curves": {"high": _plain(high), "low": _plain(low)},
        "exact": _exact(view, high),
        "best": {"sqnr": _finite(max(best, default=np.nan))},
        "encoding": _encoding(view),
        "marks": [_method_mark(view, method) for method in view.searches]
        + [_mark(view, mark) for mark in more],
        "names": NAMES,
        "formulas": FORMULAS,
    }


@lru_cache(maxsize=64)  # the same after every drag
def _shown(h: Histogram) -> Histogram:
    """With no more bins than the chart draws."""
    while h.counts.size > BINS:
        h = h.coarsen(1)
    return h


@lru_cache(maxsize=64)
def _fits(h: Histogram, shown: Histogram) -> list[dict[str, object]]:
    """The best Gauss and the best Laplace density, better one first, as counts in the bins of `shown`."""
    out: list[dict[str, object]] = []
    for fit in fits(h):
        if any(known["family"] == fit.family for known in out):
            continue
        expected = np.diff(fit.cumulative(shown.edges)) * float(shown.counts.sum())
        out.append(
            {
                "family": fit.family,
                "label": fit.label,
                "center": fit.center,
                "spread": fit.spread,
                "measure": "standard deviation" if fit.family is Family.GAUSS else "mean deviation",
                "distance": fit.distance,
                "expected": [float(f"{v:.4g}") if v > 0.005 else 0 for v in expected],
            }
        )
    return out


def _domain(view: RangeView, *found: Curve) -> list[float]:
    """Values at the left and right end of an axis: all that was seen or is kept, and a little room.

    With curves, also what a rule for scales would keep at any of their points.
    """
    h = view.histogram
    low, high = min(view.asked.low, view.range.low), max(view.asked.high, view.range.high)
    for c in found:
        if c.kept_low is not None and c.kept_high is not None:
            low, high = min(low, float(c.kept_low.min())), max(high, float(c.kept_high.max()))
    reach = max(h.abs_max, -low, high) or 1.0
    if view.mode == "nonneg":
        return [0.0, reach * 1.03]
    if view.mode == "symmetric":
        return [-reach * 1.03, reach * 1.03]
    room = 0.02 * (max(h.max, 0.0) - h.min)
    return [min(h.min, low) - room, max(h.max, high) + room]


def _encoding(view: RangeView) -> str:
    """Scale and zero point in words."""
    scale = float(view.encoding.scale)
    words = f"{scale:.5g}"
    if view.spec.scale_rule is not ScaleRule.FREE:
        words = text.power_of_two(scale)
    return f"scale {words}, zero point {int(view.encoding.zero_point)}, {view.spec.type}"


def _exact(view: RangeView, high: Curve | None) -> dict[str, float | None]:
    """Figures of the range that is set; KL, which depends on a window of bins, from its curve."""
    e = view.error
    kl = float(np.interp(view.asked.high, high.x, high.kl)) if high is not None else np.nan
    figures = {
        "share": clipped(view.histogram, view.range, e),
        "sqnr": e.sqnr_db,
        "cosine": e.cosine,
        "mse": e.mse,
        "clipping": e.clipping_mse,
        "rounding": e.rounding_mse,
        "kl": kl,
    }
    return {name: _finite(value) for name, value in figures.items()}


def _plain(of: Curve | None) -> dict[str, list[float | None]] | None:
    """Lists for JSON, six digits, None for what is not finite."""
    if of is None:
        return None
    columns = {field.name: getattr(of, field.name) for field in fields(of)}
    return {
        name: [_finite(float(f"{v:.6g}")) for v in values]
        for name, values in columns.items()
        if values is not None
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _method_mark(view: RangeView, method: Method) -> dict[str, object]:
    """A method's choice."""
    found = view.searches[method]
    range_, asked = found.range, found.asked or found.range
    label = f"{view.choice.percentile or 99.99:g} %" if method is Method.PERCENTILE else LABELS[method]
    words = f"{asked.low:.4g} … {asked.high:.4g}"
    if asked != range_:
        words += f", with an allowed scale {range_.low:.4g} … {range_.high:.4g}"
    words += f", SQNR {view.errors[method].sqnr_db:.2f} dB"
    mark = Mark(id=method.value, label=label, low=asked.low, high=asked.high, text=words)
    return _mark(view, mark) | {"used": view.choice.method is method}


def _mark(view: RangeView, mark: Mark) -> dict[str, object]:
    """A range, labelled at the end that is farther out."""
    on_low = view.mode == "asymmetric" and -mark.low > mark.high
    return {
        "id": mark.id,
        "label": mark.label,
        "anchor": mark.low if on_low else mark.high,
        "mirror": None if view.mode == "nonneg" else mark.high if on_low else mark.low,
        "text": mark.text,
        "used": False,
    }
