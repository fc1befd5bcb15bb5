"""What the browser needs to draw a tensor's histogram and to compute its figures, as plain numbers."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache

import numpy as np

from quantscope.core.calibration import Histogram
from quantscope.core.quant import QuantSpec, ScaleRule, encoding_from_range
from quantscope.core.thresholds import (
    Family,
    Method,
    fits,
    full_range,
)
from quantscope.ui.content import text
from quantscope.ui.content.tensor_figures import Figures, figures_of, tensor_divergence_bins
from quantscope.ui.content.tensor_view import LABELS, Mark, RangeView

BINS = 2048  # in which fitted densities are drawn, at most

NAMES = {
    "range": "Range kept",
    "share": "Clipped",
    "sqnr": "SQNR",
    "cosine": "Cosine",
    "mse": "MSE",
    "kl": "KL, nats",
}
FORMULAS = {
    "range": "Values in [low, high] keep their place, others are clipped.\n"
    "q = clip(round(x / s) + z),  x\u2032 = (q − z) · s",
    "share": "Values outside the range / all finite values of the tensor, in percent.",
    "sqnr": "10 · log₁₀( Σ f² / Σ (f − q)² ) of these values, in dB; 6 dB are one bit. A range that "
    "loses here may still be the right one: what counts is the whole network.",
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
    before: tuple[str, Figures] | None = None,
    step: str = "",
) -> dict[str, object]:
    """The chart's data.

    Args:
        view: The values and their range.
        seq: The newest of the chart's own edits that is in `view`.
        token: Names the recipe.
        readonly: The lines cannot be moved.
        heading: Above the histogram.
        more: Ranges that are marked as those of the methods are.
        before: A name for what was before ("step 3"), and the figures then.
        step: A name for what is shown, against which a moving line is compared.
    """
    h = view.histogram
    shown = _shown(h)
    floor, ceiling = _domain(view)
    planned = encoding_from_range(view.asked, view.spec)
    return {
        "rev": f"{view.tensor}|{h.digest()[:16]}|{view.mode}|{view.spec.type}",
        "seq": seq,
        "token": token,
        "readonly": readonly,
        "heading": heading,
        "mode": view.mode,
        "spec": _spec(view.spec),
        "histogram": _histogram(h),
        "kl": _windows(h, view.spec),
        "kl_reason": _no_divergence(h, view.spec),
        "bins": {"start": shown.first * shown.width, "width": shown.width},
        "fits": _fits(h, shown),
        "zeros": h.zeros,
        "total": h.count,
        "range": {"low": view.asked.low, "high": view.asked.high},
        "kept": {"low": view.range.low, "high": view.range.high},
        "adjusted": view.encoding != planned and view.spec.scale_rule is ScaleRule.FREE,
        "domain": [floor, ceiling],
        "floor": floor,
        "ceiling": ceiling,
        "least": (h.abs_max or 1.0) / 1000,
        "exact": asdict(figures_of(view)),
        "before": asdict(before[1]) if before is not None else None,
        "step_before": before[0] if before is not None else "",
        "step": step,
        "encoding": _encoding(view),
        "short": f"{view.spec.type}, scale {_scale(view)}",
        "marks": [
            *(_method_mark(view, method, readonly=readonly) for method in view.searches),
            *(_mark(mark) for mark in more),
        ],
        "formulas": FORMULAS,
    }


def _spec(spec: QuantSpec) -> dict[str, object]:
    """The type, as the script computes with it."""
    return {
        "qmin": spec.qmin,
        "qmax": spec.qmax,
        "bits": spec.type.bits,
        "signed": spec.type.signed,
        "symmetric": spec.symmetric,
        "rule": spec.scale_rule.value,
    }


def _histogram(h: Histogram) -> dict[str, object]:
    """All of it: figures are computed from it while a line moves."""
    return {
        "exponent": h.exponent,
        "first": h.first,
        "counts": _counts(h),
        "min": h.min,
        "max": h.max,
        "at_min": h.at_min,
        "at_max": h.at_max,
    }


@lru_cache(maxsize=16)  # the same after every drag
def _counts(h: Histogram) -> list[int]:
    return h.counts.tolist()


def _no_divergence(h: Histogram, spec: QuantSpec) -> str:
    """Why there is no KL, whatever the range; empty where there is."""
    if tensor_divergence_bins(h, spec) is not None:
        return ""
    if h.abs_max == 0.0:
        return "all values are zero"
    return f"{spec.type} has more levels than there are bins to compare"


@lru_cache(maxsize=16)
def _windows(h: Histogram, spec: QuantSpec) -> dict[str, object] | None:
    """The bins whose windows KL compares."""
    found = tensor_divergence_bins(h, spec)
    if found is None:
        return None
    return {
        "counts": [float(f"{v:.10g}") for v in found.counts],
        "low": found.ends.low,
        "high": found.ends.high,
        "levels": found.levels,
        "symmetric": found.by_magnitude,
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


def _domain(view: RangeView) -> tuple[float, float]:
    """Values at the left and right end of an axis: all that was seen or is kept, and a little room.

    Under a rule for scales also what it would keep of all that was seen, which may be twice as much.
    """
    h = view.histogram
    low, high = min(view.asked.low, view.range.low), max(view.asked.high, view.range.high)
    if view.spec.scale_rule is not ScaleRule.FREE:
        whole = encoding_from_range(full_range(h, view.spec), view.spec)
        low, high = min(low, float(whole.low)), max(high, float(whole.high))
    reach = max(h.abs_max, -low, high) or 1.0
    if view.mode == "nonneg":
        return 0.0, reach * 1.03
    if view.mode == "symmetric":
        return -reach * 1.03, reach * 1.03
    room = 0.02 * (max(h.max, high, 0.0) - min(h.min, low))
    return min(h.min, low) - room, max(h.max, high) + room


def _encoding(view: RangeView) -> str:
    """Scale and zero point in words."""
    return f"scale {_scale(view, 5)}, zero point {int(view.encoding.zero_point)}, {view.spec.type}"


def _scale(view: RangeView, digits: int = 4) -> str:
    scale = float(view.encoding.scale)
    if view.spec.scale_rule is not ScaleRule.FREE:
        return text.power_of_two(scale)
    return text.number(scale, digits)


def _method_mark(view: RangeView, method: Method, *, readonly: bool) -> dict[str, object]:
    """A method's choice."""
    found = view.searches[method]
    range_, asked = found.range, found.asked or found.range
    label = f"{view.choice.percentile or 99.99:g} %" if method is Method.PERCENTILE else LABELS[method]
    words = f"{text.number(asked.low)} … {text.number(asked.high)}"
    if asked != range_:
        words += f", with an allowed scale {text.number(range_.low)} … {text.number(range_.high)}"
    words += f", SQNR {text.decibel(view.errors[method].sqnr_db)}"
    mark = Mark(id=method.value, label=label, low=asked.low, high=asked.high, text=words)
    return _mark(mark) | {"used": view.choice.method is method and not readonly}


def _mark(mark: Mark) -> dict[str, object]:
    return {
        "id": mark.id,
        "label": mark.label,
        "low": mark.low,
        "high": mark.high,
        "text": mark.text,
        "used": False,
    }
