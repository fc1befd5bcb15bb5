"""Every threshold method, and every other tool, on one array: what `quantscope thresholds` shows."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from quantscope.core.thresholds import SEARCHES, search
from quantscope.core.thresholds.reference import ReferenceThreshold, reference_thresholds
from quantscope.ui.cli.options import Choices
from quantscope.ui.cli.recipes import check_percentile, pick
from quantscope.ui.terminal.console import INLINE, OPTIONAL, BadInput, note

SHARE = 99.99  # percent kept by the percentile method
LARGEST = float(np.finfo(np.float32).max)
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFigures:
    """What a threshold method chooses."""

    low: float
    high: float
    scale: float
    zero_point: int
    mse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFigures:
    """What another tool chooses; None where it chooses nothing that can be used."""

    low: float | None
    high: float | None
    threshold: float | None
    scale: float | None
    zero_point: float | None
    mse: float | None  # of its range in the type that was asked for
    error: str | None = field(metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSetting:
    """What a tool chooses with some of its settings."""

    parameters: Mapping[str, Any]
    found: ToolFigures = field(metadata=INLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettings:
    """What a tool chooses with its own settings, and with others."""

    own: ToolSetting = field(metadata=INLINE)
    variants: tuple[ToolSetting, ...] | None = field(metadata=OPTIONAL)

    @property
    def shown(self) -> ToolFigures:
        """With its own settings."""
        return self.own.found


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Every method, and every other tool that was asked for, by name."""

    methods: Mapping[str, MethodFigures]
    tools: Mapping[str, ToolSettings]

    @property
    def shown(self) -> Mapping[str, MethodFigures | ToolFigures]:
        """One row for each."""
        return {**self.methods, **{name: tool.shown for name, tool in self.tools.items()}}

    def to_json(self) -> Mapping[str, Any]:
        """All in one object."""
        return {**self.methods, **self.tools}


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


def thresholds(path: Path, type_name: str, choices: Choices, *, reference: bool = False) -> Thresholds:
    """Every method on the array in a .npy file, and with `reference` every other tool's.

    Raises:
        BadInput: There is no such type, percentile or rule.
        DataError: The array is unusable.
    """
    if type_name.lower() not in TYPES:
        raise BadInput(f"--type: there is no '{type_name}'; choose from int2 to int16 and uint2 to uint16")
    if choices.percentile is not None:
        check_percentile(choices.percentile)
    rule = pick(ScaleRule, choices.scale_rule, "--scale-rule") or ScaleRule.FREE
    spec = QuantSpec(type=TYPES[type_name.lower()], symmetric=choices.symmetric is not False)
    values = read_array(path)
    return Thresholds(
        methods=every_method(values, replace(spec, scale_rule=rule), choices.percentile),
        tools=every_reference(values, spec) if reference else {},
    )


def every_method(values: Floats, spec: QuantSpec, percentile: float | None) -> dict[str, MethodFigures]:
    """Range, scale, zero point and measured mean squared error of each automatic method."""
    accumulator = Accumulator()
    accumulator.add(values)
    histogram = accumulator.histogram()
    out = {}
    for method in SEARCHES:
        found = search(method, histogram, spec, percentile=percentile or SHARE)
        encoding = encoding_from_range(found.range, spec)
        out[method.value] = MethodFigures(
            low=found.range.low,
            high=found.range.high,
            scale=float(encoding.scale),
            zero_point=int(encoding.zero_point),
            mse=measured_mse(values, encoding),
        )
    return out


def every_reference(values: Floats, spec: QuantSpec) -> dict[str, ToolSettings]:
    """What other tools choose, by `tool/algorithm`, the tool's own settings first.

    Low, high, threshold, scale and zero point are the tool's own; `mse` is that of its range in `spec`.
    """
    found: dict[str, list[ToolSetting]] = {}
    for row in reference_thresholds(values):
        setting = ToolSetting(parameters=dict(row.parameters), found=_reference(values, row.result, spec))
        found.setdefault(row.key, []).append(setting)
    return {key: ToolSettings(own=own, variants=tuple(more) or None) for key, (own, *more) in found.items()}


def _reference(values: Floats, result: ReferenceThreshold, spec: QuantSpec) -> ToolFigures:
    """One result; numbers that JSON does not have are None."""
    low, high = _finite(result.low), _finite(result.high)
    mse = None
    if result.usable and low is not None and high is not None:
        mse = measured_mse(values, encoding_from_range(Range(low, high), spec))
    return ToolFigures(
        low=low,
        high=high,
        threshold=_finite(result.threshold),
        scale=_finite(result.scale),
        zero_point=_finite(result.zero_point),
        mse=mse,
        error=result.error or None,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def measured_mse(values: Floats, encoding: Encoding) -> float:
    """Mean squared error of quantizing the values themselves."""
    error = values.astype(np.float64) - fake_quantize(values, encoding)
    return float(np.mean(np.square(error)))
