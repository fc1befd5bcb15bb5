"""What a comparison writes as JSON: numbers, strings, lists and None, under keys that are declared here.

JSON knows no infinity. An infinite figure becomes None, and `exact` tells the SQNR of no error at all.
"""

import math
from collections.abc import Iterable
from typing import NotRequired, TypedDict

from quantscope.core.evaluate.latency import Latency
from quantscope.core.evaluate.layers import LayerError
from quantscope.core.evaluate.outputs import OutputError
from quantscope.core.evaluate.saturating import SaturatedLayer
from quantscope.core.evaluate.scores import Accuracy
from quantscope.core.evaluate.size import SizeBreakdown
from quantscope.core.evaluate.sums import TensorError


class ErrorJson(TypedDict):
    """A `TensorError`."""

    cosine: float | None
    sqnr_db: float | None
    mse: float | None
    nmse: float | None
    max_abs_error: float | None
    count: int
    non_finite: int
    exact: bool  # nothing differs


class PartJson(TypedDict):
    """Channels of an output that hold values of about one size."""

    first: int
    channels: int
    sqnr_db: float | None
    exact: bool
    lost: int


class ChannelsJson(TypedDict):
    """An output by channel."""

    axis: int | None
    size: int
    parts: list[PartJson]
    lost: list[int]


class OutputJson(TypedDict):
    """An output; the figures of `ErrorJson` are there where it could be compared."""

    name: str
    equal_share: float | None
    mismatched: int
    cosine: NotRequired[float | None]
    sqnr_db: NotRequired[float | None]
    mse: NotRequired[float | None]
    nmse: NotRequired[float | None]
    max_abs_error: NotRequired[float | None]
    count: NotRequired[int]
    non_finite: NotRequired[int]
    exact: NotRequired[bool]
    channels: ChannelsJson | None


class AccuracyJson(TypedDict):
    """Task accuracy, as shares; `float` and `quantized` are top-1, None without labels."""

    output: str
    rows: int
    float: float | None
    quantized: float | None
    float_top5: float | None
    quantized_top5: float | None
    agreement: float
    positions: bool
    float_miou: float | None
    quantized_miou: float | None


class LayerJson(TypedDict):
    """A layer's errors."""

    name: str
    tensor: str
    type: str
    cumulative: ErrorJson | None
    local: ErrorJson | None


class SaturatedJson(TypedDict):
    """A layer that loses in a default session."""

    name: str
    changed: float
    sqnr_db: float | None


class DefaultSessionJson(TypedDict):
    """What the file does in a default session, where that differs from exact sums."""

    equal: bool
    output: ErrorJson | None
    outputs: list[OutputJson]
    accuracy: AccuracyJson | None
    layers: list[SaturatedJson]


class SizesJson(TypedDict):
    """Bytes of the two files."""

    float: int
    quantized: int


class SizePartsJson(TypedDict):
    """Bytes of the quantized file by what they hold, as `SizeBreakdown`."""

    weights: int
    biases: int
    scales: int
    constants: int
    names: int
    remarks: int
    graph: int


class LatencyJson(TypedDict):
    """Milliseconds a sample."""

    float: float
    quantized: float | None
    default_session: float | None
    runs: int
    threads: int


class ComparisonJson(TypedDict):
    """All of a `Comparison`."""

    output: ErrorJson | None
    outputs: list[OutputJson]
    accuracy: AccuracyJson | None
    size_bytes: SizesJson
    size_parts: SizePartsJson
    latency_ms: LatencyJson | None
    layers: list[LayerJson]
    samples: int
    layer_samples: int
    warnings: list[str]
    default_session: DefaultSessionJson | None
    may_saturate: list[str]


def size_parts_json(found: SizeBreakdown) -> SizePartsJson:
    """Bytes by what they hold; together the size of the file."""
    return {
        "weights": found.weights,
        "biases": found.biases,
        "scales": found.scales,
        "constants": found.constants,
        "names": found.names,
        "remarks": found.remarks,
        "graph": found.graph,
    }


def error_dict(error: TensorError | None) -> ErrorJson | None:
    """A `TensorError`; None where there is none."""
    if error is None:
        return None
    return {
        "cosine": _finite(error.cosine),
        "sqnr_db": _finite(error.sqnr_db),
        "mse": _finite(error.mse),
        "nmse": _finite(error.nmse),
        "max_abs_error": _finite(error.max_abs_error),
        "count": error.count,
        "non_finite": error.non_finite,
        "exact": error.sqnr_db == math.inf,
    }


def outputs_json(outputs: Iterable[OutputError]) -> list[OutputJson]:
    """Every output, its figures beside its name."""
    return [_output_json(output) for output in outputs]


def _output_json(output: OutputError) -> OutputJson:
    error, channels = error_dict(output.error), _channels_json(output)
    if error is None:
        return {
            "name": output.name,
            "equal_share": output.equal_share,
            "mismatched": output.mismatched,
            "channels": channels,
        }
    return {
        "name": output.name,
        "equal_share": output.equal_share,
        "mismatched": output.mismatched,
        **error,
        "channels": channels,
    }


def _channels_json(output: OutputError) -> ChannelsJson | None:
    """Parts of an output: how many channels each has, their SQNR, and how many of them are lost."""
    by_channel = output.channels
    if by_channel is None:
        return None
    return {
        "axis": by_channel.axis,
        "size": by_channel.size,
        "parts": [
            {
                "first": part.channels[0],
                "channels": len(part.channels),
                "sqnr_db": _finite(part.sqnr_db),
                "exact": part.sqnr_db == math.inf,
                "lost": len(part.lost),
            }
            for part in by_channel.parts
        ],
        "lost": list(by_channel.lost),
    }


def accuracy_json(found: Accuracy | None) -> AccuracyJson | None:
    """Task accuracy; None where no output holds class scores."""
    if found is None:
        return None
    return {
        "output": found.output,
        "rows": found.rows,
        "float": found.float_top1,
        "quantized": found.quantized_top1,
        "float_top5": found.float_top5,
        "quantized_top5": found.quantized_top5,
        "agreement": found.agreement,
        "positions": found.positions,
        "float_miou": found.float_miou,
        "quantized_miou": found.quantized_miou,
    }


def latency_json(found: Latency | None) -> LatencyJson | None:
    """Milliseconds a sample; None where time was not measured."""
    if found is None:
        return None
    return {
        "float": found.float_ms,
        "quantized": found.quantized_ms,
        "default_session": found.default_ms,
        "runs": found.runs,
        "threads": found.threads,
    }


def layers_json(layers: Iterable[LayerError]) -> list[LayerJson]:
    """Every layer's errors, with all before it quantized and alone."""
    return [
        {
            "name": item.layer,
            "tensor": item.tensor,
            "type": item.type or "float",
            "cumulative": error_dict(item.cumulative),
            "local": error_dict(item.local),
        }
        for item in layers
    ]


def saturated_json(layers: Iterable[SaturatedLayer]) -> list[SaturatedJson]:
    """Layers that lose in a default session."""
    return [{"name": item.layer, "changed": item.changed, "sqnr_db": item.sqnr_db} for item in layers]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
