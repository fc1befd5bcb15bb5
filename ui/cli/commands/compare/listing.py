"""What `quantscope compare` measured, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantscope.core.evaluate import (
    Accuracy,
    Comparison,
    DefaultSession,
    LayerError,
    OutputError,
    TensorError,
)
from quantscope.core.words import plural
from quantscope.ui.cli.commands.compare.work import Compared, right
from quantscope.ui.content.size_parts import LABELS
from quantscope.ui.terminal.console import number, percent, size, table

WORST = 5  # layers that a comparison marks in each column
LOSING = 8  # layers that saturate, shown at the most


def comparison(result: Compared) -> str:
    """The whole models as a table, outputs and layers by themselves, and what saturates."""
    found = result.found
    other = found.default if found.default is not None and not found.default.equal else None
    head = ("", "float", "quantized", "default session")[: 3 if other is None else 4]
    text = table(head, _rows(found, other), numeric=head[1:])
    count = f"over {plural(found.samples, 'sample')}"
    layers = _worst(found.layers, found.layer_samples)
    return "\n".join(
        filter(
            None, [text, count, _what_bytes_are(found), _outputs(found.outputs), _saturation(found), layers]
        )
    )


def _rows(found: Comparison, other: DefaultSession | None) -> list[tuple[object, ...]]:
    """Outputs, accuracy, size and latency; `other` has a column of its own."""
    runs: list[Comparison | DefaultSession] = [found] if other is None else [found, other]
    outputs = [run.output for run in runs]
    rows: list[tuple[object, ...]] = [
        ("output cosine", "", *(number(_finite(output.cosine), 6) for output in outputs)),
        ("output SQNR", "", *(_sqnr(output.sqnr_db) for output in outputs)),
        ("output MSE", "", *(number(_finite(output.mse)) for output in outputs)),
        *_accuracy([right(run) for run in runs]),
    ]
    over = _over(found)
    if found.accuracy is not None:
        agreements = (None if run.accuracy is None else run.accuracy.agreement for run in runs)
        rows.append((f"same first class{over}", "", *map(percent, agreements)))
    files = ("size", size(found.float_bytes), size(found.quantized_bytes))
    rows.append(files if other is None else (*files, size(found.quantized_bytes)))
    if found.latency is not None:
        times = [found.latency.float_ms, found.latency.quantized_ms, found.latency.default_ms]
        rows.append(("latency", *(number(ms, 3, " ms") for ms in times[: 1 + len(runs)])))
    return rows


def _accuracy(found: Sequence[Accuracy | None]) -> list[tuple[object, ...]]:
    """How often the float model and each run are right; nothing without labels."""
    first, known = found[0], [accuracy for accuracy in found if accuracy is not None]
    if first is None:
        return []
    over = " over positions" if first.positions else ""
    rows: list[tuple[object, ...]] = [
        (f"top-1{over}", percent(first.float_top1), *(percent(a.quantized_top1) for a in known))
    ]
    if first.float_top5 is not None:
        rows.append(("top-5", percent(first.float_top5), *(percent(a.quantized_top5) for a in known)))
    if first.float_miou is not None:
        rows.append(("mean IoU", percent(first.float_miou), *(percent(a.quantized_miou) for a in known)))
    return rows


def _what_bytes_are(found: Comparison) -> str:
    """What the bytes of a quantized file are that saves less than half, the most first; else nothing."""
    if 2 * found.quantized_bytes < found.float_bytes:
        return ""
    parts = sorted(found.parts.as_dict().items(), key=lambda part: -part[1])
    listed = ", ".join(f"{LABELS[name]} {size(count)}" for name, count in parts if count)
    return f"of the quantized file: {listed}"


def _over(found: Comparison) -> str:
    return " over positions" if found.accuracy is not None and found.accuracy.positions else ""


def _outputs(outputs: Sequence[OutputError]) -> str:
    """Each output by itself, in parts where its channels differ widely; "" where there is one of one part."""
    rows = []
    for item in outputs:
        parts = () if item.channels is None else item.channels.parts
        channels = 0 if item.channels is None else item.channels.size
        for part in parts:
            some = f"{len(part.channels)} of {channels}, first {part.channels[0]}"
            lost = f"{len(part.lost)} constant" if part.lost else ""
            rows.append((item.name, some if len(parts) > 1 else "all", _sqnr(part.sqnr_db), lost))
        if not parts:
            share = item.equal_share
            figure = _decibel(item.error) if share is None else f"{percent(share)} equal"
            rows.append((item.name, "all", figure, ""))
    if len(rows) < 2:
        return ""
    said = "\noutputs by themselves, and in each the channels of about one size"
    return f"{said}\n{table(('output', 'channels', 'SQNR', 'lost'), rows, numeric=('SQNR',))}"


def _saturation(found: Comparison) -> str:
    """What x86 without VNNI makes of the file, in words."""
    default, risky = found.default, found.may_saturate
    remedy = "quantize --target onnxruntime-any-x86 writes a file that cannot"
    if default is None:
        if not risky:
            return ""
        return f"on x86 CPUs without VNNI {_layers_may(risky)} saturate in a default session; {remedy}"
    if default.equal:
        said = "a default session on this CPU, which has no VNNI, gives the same outputs, bit for bit"
        return said if not risky else f"{said}; on other inputs {_layers_may(risky)} saturate; {remedy}"
    lines = [
        "\nThis CPU has no VNNI: a default ONNX Runtime session adds products in 16 bits and saturates. "
        "The figures under 'quantized' are exact: for these set session.x64quantprecision to 1, or use "
        "quantscope quantize --target onnxruntime-any-x86, which writes a file that cannot saturate."
    ]
    shown = default.layers[:LOSING]
    if shown:
        rows = [(item.layer, percent(item.changed), f"{item.sqnr_db:.1f} dB") for item in shown]
        of = f", the {LOSING} worst of {len(default.layers)}" if len(default.layers) > LOSING else ""
        lines.append(f"layers that saturate{of}: values changed, and SQNR against exact sums")
        lines.append(table(("layer", "changed", "SQNR"), rows, numeric=("changed", "SQNR")))
    return "\n".join(lines)


def _layers_may(names: Sequence[str]) -> str:
    return f"{plural(len(names), 'layer')} may"


def _worst(layers: Sequence[LayerError], samples: int) -> str:
    """The layers that are worst on their own, and those where the most error has gathered."""
    local = _lowest({layer.layer: layer.local for layer in layers})
    cumulative = _lowest({layer.layer: layer.cumulative for layer in layers})
    shown = [layer for layer in layers if layer.layer in local | cumulative]
    if not shown:
        return ""
    rows = [
        (
            layer.layer,
            layer.type or "float",
            _decibel(layer.local) + (" *" if layer.layer in local else "  "),
            _decibel(layer.cumulative) + (" *" if layer.layer in cumulative else "  "),
            number(None if layer.cumulative is None else _finite(layer.cumulative.cosine), 5),
        )
        for layer in shown
    ]
    head = ("layer", "type", "local SQNR  ", "cumulative SQNR  ", "cumulative cosine")
    text = (
        f"\nlayers over {plural(samples, 'sample')}, in the order of the network; * marks the {WORST} worst "
        "alone (local), and with all before them (cumulative)"
    )
    return f"{text}\n{table(head, rows, numeric=head[2:])}"


def _lowest(errors: dict[str, TensorError | None]) -> set[str]:
    """Names of those with the lowest SQNR."""
    known = {name: _finite(error.sqnr_db) for name, error in errors.items() if error is not None}
    finite = {name: sqnr_db for name, sqnr_db in known.items() if sqnr_db is not None}
    return set(sorted(finite, key=lambda name: finite[name])[:WORST])


def _sqnr(sqnr_db: float | None) -> str:
    return "no difference" if sqnr_db == math.inf else number(_finite(sqnr_db), 4, " dB")


def _decibel(error: TensorError | None) -> str:
    """An SQNR with one decimal."""
    sqnr_db = None if error is None else error.sqnr_db
    if sqnr_db == math.inf:
        return "exact"
    return "-" if _finite(sqnr_db) is None else f"{sqnr_db:.1f} dB"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
