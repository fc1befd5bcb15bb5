"""Every threshold method, and every other tool, on one array: what `quantscope thresholds` shows."""

from __future__ import annotations

import math
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Accumulator
from quantscope.core.errors import DataError
from quantscope.core.quant import (
    TYPES,
    Encoding,
    QuantSpec,
    Range,
    ScaleRule,
    encoding_from_range,
    fake_quantize,
)
from quantscope.core.thresholds import FROM_HISTOGRAM, search
from quantscope.core.thresholds.reference import ReferenceThreshold, reference_thresholds
from quantscope.ui.cli.arguments import check_percentile, pick
from quantscope.ui.terminal.console import BadInput, note

SHARE = 99.99  # percent kept by the percentile method
LARGEST = float(np.finfo(np.float32).max)
Floats = npt.NDArray[np.floating[Any]]


def read_array(path: Path) -> Floats:
    """The values of a .npy file that float32 holds; flat if others had to be left out, which stderr is told.

    Raises:
        DataError: it cannot be read, is not numeric, or holds no finite value.
    """
    try:
        values = np.load(path, allow_pickle=False, mmap_mode="r")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise DataError(f"{path.name} is not a NumPy array of numbers; save one with numpy.save") from None
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path.name} holds several arrays; save the one to look at with numpy.save")
    if values.dtype.kind not in "fiu":
        raise DataError(f"{path.name} holds {values.dtype}, not real numbers")
    wide = values.dtype.kind == "f" and values.dtype.itemsize >= 4  # float16 cannot hold the limit below
    flat = values.reshape(-1) if wide else values.reshape(-1).astype(np.float64)
    finite = np.isfinite(flat)
    with np.errstate(invalid="ignore"):
        usable = finite & (np.abs(flat) <= LARGEST)
    if not usable.any():
        raise DataError(f"{path.name} holds no finite value that float32 can; there is nothing to quantize")
    left_out = {
        "are NaN or infinite": flat.size - int(finite.sum()),
        "are too large for float32": int(finite.sum()) - int(usable.sum()),
    }
    said = [f"{count:,} {what}" for what, count in left_out.items() if count]
    if said:
        note(f"warning: of {flat.size:,} values {' and '.join(said)}, and are left out")
    return np.ascontiguousarray(flat[usable] if said else flat.reshape(values.shape))


def thresholds(
    path: Path,
    type_name: str,
    symmetric: bool,
    percentile: float | None,
    scale_rule: str | None = None,
    reference: bool = False,
) -> dict[str, Any]:
    """Every method on the array in a .npy file, and with `reference` every other tool's.

    Raises:
        BadInput: there is no such type, percentile or rule.
        DataError: the array is unusable.
    """
    if type_name.lower() not in TYPES:
        raise BadInput(f"--type: there is no '{type_name}'; choose from int2 to int16 and uint2 to uint16")
    if percentile is not None:
        check_percentile(percentile)
    rule = pick(ScaleRule, scale_rule, "--scale-rule") or ScaleRule.FREE
    spec = QuantSpec(type=TYPES[type_name.lower()], symmetric=symmetric)
    values = read_array(path)
    found = every_method(values, replace(spec, scale_rule=rule), percentile)
    if reference:
        found |= every_reference(values, spec)
    return found


def every_method(values: Floats, spec: QuantSpec, percentile: float | None) -> dict[str, Any]:
    """Range, scale, zero point and measured mean squared error of each automatic method."""
    accumulator = Accumulator()
    accumulator.add(values)
    histogram = accumulator.histogram()
    out: dict[str, Any] = {}
    for method in FROM_HISTOGRAM:
        found = search(method, histogram, spec, percentile=percentile or SHARE)
        encoding = encoding_from_range(found.range, spec)
        out[method.value] = {
            "low": found.range.low,
            "high": found.range.high,
            "scale": float(encoding.scale),
            "zero_point": int(encoding.zero_point),
            "mse": measured_mse(values, encoding),
        }
    return out


def every_reference(values: Floats, spec: QuantSpec) -> dict[str, Any]:
    """What other tools choose, by `tool/algorithm`: the tool's own settings, and others under "variants".

    Low, high, threshold, scale and zero point are the tool's own; `mse` is that of its range in `spec`.
    """
    out: dict[str, Any] = {}
    for row in reference_thresholds(values):
        entry = {"parameters": dict(row.parameters), **_reference(values, row.result, spec)}
        if row.key in out:
            out[row.key].setdefault("variants", []).append(entry)
        else:
            out[row.key] = entry
    return out


def _reference(values: Floats, result: ReferenceThreshold, spec: QuantSpec) -> dict[str, Any]:
    """One result; numbers that JSON does not have are null."""
    fields = ("low", "high", "threshold", "scale", "zero_point")
    numbers = {name: _finite(getattr(result, name)) for name in fields}
    low, high = numbers["low"], numbers["high"]
    mse = None
    if result.usable and low is not None and high is not None:
        mse = measured_mse(values, encoding_from_range(Range(low, high), spec))
    out = {**numbers, "mse": mse}
    return {**out, "error": result.error} if result.error else out


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def measured_mse(values: Floats, encoding: Encoding) -> float:
    """Mean squared error of quantizing the values themselves."""
    error = values.astype(np.float64) - fake_quantize(values, encoding)
    return float(np.mean(np.square(error)))
