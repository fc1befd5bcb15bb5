"""Measures of how far quantized values q stray from float values f, one function a metric.

All take arrays of any shape and of the same size, and sum in float64 on one thread, so that a result
does not hang on the number of cores. NaN in either array gives NaN, and inf gives inf or NaN: never an
exception, nor a good-looking number. Empty arrays count as equal.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.float64]

# What a user reads beside a figure; keys are the functions below and the fields of thresholds.RangeError.
FORMULAS = {
    "cosine": "cosine = f·q / (‖f‖ ‖q‖)",
    "sqnr_db": "SQNR = 10 log₁₀(Σ f² / Σ (f − q)²) dB",
    "mse": "MSE = mean (f − q)²",
    "clipping_mse": "clipping MSE = Σ (f − q)² over values outside [low, high] / number of all values",
    "rounding_mse": "rounding MSE = Σ (f − q)² over values inside [low, high] / number of all values",
    "nmse": "NMSE = ‖f − q‖² / ‖f‖²",
    "rmse_over_scale": "RMSE / scale = √MSE / s; ideal rounding gives 1/√12 ≈ 0.289",
    "max_abs_error": "max error = max |f − q|",
    "relative_error": "relative error = ‖f − q‖ / ‖f‖",
    "kl": "KL(P‖Q) = Σ P ln(P / Q), in nats",
    "kl_divergence": "KL(P‖Q) = Σ P ln(P / Q), in nats",
    "clipped_share": "clipped share = values outside [low, high] / all values",
    "top_k_accuracy": "top-k accuracy = share of samples whose label is among the k largest scores",
    "agreement": "agreement = share of samples where float and quantized model put the same class first",
    "quantization_loss": "quantization loss = |metric(q) − metric(f)| / |metric(f)| · 100 %",
}


def cosine(f: Values, q: Values) -> float:
    """f·q / (|f| |q|), in [-1, 1]; both all zero: 1; one of them: 0."""
    x, y = _pair(f, q)
    with np.errstate(all="ignore"):
        xx, yy = _dot(x, x), _dot(y, y)
        if not (_is_safe(xx) and _is_safe(yy)):  # squares may have vanished or overflowed
            x, y = _unit(x), _unit(y)
            xx, yy = _dot(x, x), _dot(y, y)
        if xx == 0.0 or yy == 0.0:
            return 1.0 if xx == yy else float(0.0 * (xx + yy))
        return float(np.clip(_dot(x, y) / np.sqrt(xx * yy), -1.0, 1.0))


def sqnr_db(f: Values, q: Values) -> float:
    """10 log10(sum f² / sum (f - q)²) in dB: inf without error, -inf where f is all zero and q is not."""
    ratio = nmse(f, q)
    if ratio == 0.0:
        return float("inf")
    return float(-10.0 * np.log10(ratio)) + 0.0


def mse(f: Values, q: Values) -> float:
    """Mean of (f - q)²; 0 for empty arrays."""
    return _energy(*_pair(f, q)) / max(np.size(f), 1)


def nmse(f: Values, q: Values) -> float:
    """|f - q|² / |f|²; 0 if both are all zero, inf if only f is."""
    x, y = _pair(f, q)
    with np.errstate(invalid="ignore", over="ignore"):
        error, energy = _energy(x, y), _dot(x, x)
        if not (_is_safe(energy) and (error == 0.0 or _is_safe(error))):
            peak = float(max(np.max(np.abs(x), initial=0.0), np.max(np.abs(y), initial=0.0)))
            if 0.0 < peak < np.inf:
                error, energy = _energy(x / peak, y / peak), _dot(x / peak, x / peak)
    if energy == 0.0:
        return 0.0 if error == 0.0 else float("inf") * error
    return error / energy


def rmse_over_scale(f: Values, q: Values, scale: float) -> float:
    """√MSE / scale: 0.289 is ideal rounding, more than 0.7 means that clipping or something else rules.

    Raises:
        ValueError: `scale` is not positive and finite.
    """
    if not 0.0 < scale < np.inf:
        raise ValueError(f"a scale is positive and finite, not {scale}")
    return float(np.sqrt(mse(f, q)) / scale)


def max_abs_error(f: Values, q: Values) -> float:
    """Largest |f - q|; 0 for empty arrays."""
    x, y = _pair(f, q)
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.max(np.abs(x - y), initial=0.0))


def relative_error(f: Values, q: Values) -> float:
    """|f - q| / |f|; 0 if both are all zero, inf if only f is."""
    return float(np.sqrt(nmse(f, q)))


def kl_divergence(p: Values, q: Values) -> float:
    """Sum of P ln(P / Q) in nats, of two histograms that are normalized first.

    Bins with P = 0 add nothing; a bin with Q = 0 < P makes it inf. Both empty: 0; one empty: inf.

    Raises:
        ValueError: a count is negative.
    """
    a, b = _pair(p, q)
    if np.any(a < 0.0) or np.any(b < 0.0):
        raise ValueError("a histogram has no negative counts")
    total_a, total_b = float(a.sum()), float(b.sum())
    if total_a == 0.0 or total_b == 0.0:
        return 0.0 if total_a == total_b else float("inf")
    if not np.isfinite(total_a + total_b):
        return float("nan")
    a, b = a[a > 0.0] / total_a, b[a > 0.0] / total_b
    if np.any(b == 0.0):
        return float("inf")
    return max(float(np.sum(a * np.log(a / b))), 0.0)


def top_k_accuracy(logits: Values, labels: Values, k: int = 1) -> float:
    """Share of samples whose label is among the k largest scores.

    Ties go to the lower class index, as argmax does; a row that holds NaN counts as wrong. NaN if there
    are no samples.

    Args:
        logits: (samples, classes).
        labels: (samples,) class indices.
        k: how many classes may contain the label.

    Raises:
        ValueError: shapes do not fit, k < 1, or a label is not a class index.
    """
    scores = np.asarray(logits, np.float64)
    truth: npt.NDArray[Any] = np.asarray(labels)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and labels {truth.shape} are not (N, classes) and (N,)")
    if k < 1:
        raise ValueError(f"k is at least 1, not {k}")
    if truth.size == 0:
        return float("nan")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise ValueError(f"labels are class indices from 0 to {scores.shape[1] - 1}")
    own = scores[np.arange(truth.size), truth][:, None]
    earlier = np.arange(scores.shape[1]) < truth[:, None]
    rank = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
    return float(np.mean((rank < k) & ~np.isnan(scores).any(axis=1)))


def agreement(f: Values, q: Values) -> float:
    """Share of samples where both models put the same class first; NaN if there are no samples.

    Args:
        f: (samples, classes) scores of the float model.
        q: the same of the quantized one; a row with NaN in either does not agree.

    Raises:
        ValueError: shapes differ or are not (samples, classes).
    """
    x, y = np.asarray(f, np.float64), np.asarray(q, np.float64)
    if x.ndim != 2 or x.shape != y.shape or x.shape[1] == 0:
        raise ValueError(f"scores {x.shape} and {y.shape} are not both (samples, classes)")
    if len(x) == 0:
        return float("nan")
    known = ~np.isnan(x).any(axis=1) & ~np.isnan(y).any(axis=1)
    return float(np.mean(known & (x.argmax(axis=1) == y.argmax(axis=1))))


def quantization_loss(metric_f: float, metric_q: float) -> float:
    """|metric(q) - metric(f)| / |metric(f)| in percent; 0 if both are 0, inf if only the float one is."""
    if metric_f == 0.0:
        return 0.0 if metric_q == 0.0 else float("inf")
    return 100.0 * abs(metric_q - metric_f) / abs(metric_f)


def _pair(f: Values, q: Values) -> tuple[FloatArray, FloatArray]:
    """Both arrays flat, in float64."""
    x, y = np.asarray(f, np.float64).reshape(-1), np.asarray(q, np.float64).reshape(-1)
    if x.size != y.size:
        raise ValueError(f"arrays of {x.size} and {y.size} elements cannot be compared")
    return x, y


def _is_safe(square: float) -> bool:
    """Whether a sum of squares lost nothing that matters to underflow or overflow."""
    return 1e-150 < square < 1e150


def _unit(x: FloatArray) -> FloatArray:
    """`x` scaled by a power of two to a largest magnitude near 1."""
    peak = float(np.max(np.abs(x), initial=0.0))
    return x if peak == 0.0 or not np.isfinite(peak) else x / 2.0 ** np.floor(np.log2(peak))


def _dot(x: FloatArray, y: FloatArray) -> float:
    """Sum of x y; not by BLAS, whose threads decide the order of summation."""
    return float(np.einsum("i,i->", x, y))


def _energy(x: FloatArray, y: FloatArray) -> float:
    """Sum of (x - y)²."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = x - y
        return _dot(difference, difference)
