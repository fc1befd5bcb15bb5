"""What `quantscope inspect` found, as text."""

from __future__ import annotations

from collections.abc import Sequence

from quantscope.core.words import plural
from quantscope.ui.cli.commands.inspect.work import Inspection, LayerFigures, StoredScale
from quantscope.ui.terminal.columns import cells, columns, cut, dims
from quantscope.ui.terminal.console import clean, number, size, table


def inspection(found: Inspection) -> str:
    """The model in a few lines, and its layers or stored scales as a table."""
    width = columns()
    lines = [
        f"{cut(clean(found.name), width // 2)}: opset {found.opset}, "
        f"{plural(found.parameters, 'parameter')}, {size(found.size_bytes)}"
    ]
    for kind, tensors in (("input", found.inputs), ("output", found.outputs)):
        for info in tensors:
            room = width - len(f"  {kind:<6}    {info.type}  ")
            shape = cut(_shape(info.shape, room // 2), room - 3)
            name = cut(clean(info.name), room - cells(shape))
            lines.append(f"  {kind:<6}  {name}  {info.type}  {shape}")
    ops = ", ".join(f"{cut(clean(op), width // 2)} {count}" for op, count in found.ops.items())
    lines += [f"  ops     {ops}", ""]
    if found.quantized:
        lines += ["This model is already quantized; these are its parameters.", "", _scales(found.scales)]
    else:
        lines += [_layers(found.layers), "", _summary(found)]
    lines += [f"note: {clean(note)}" for note in found.notes]
    return "\n".join(lines)


def _shape(found: Sequence[object] | None, width: int) -> str:
    """Dimensions as 1x3x224x224; `?` where unknown, and names cut to keep to `width` columns."""
    if found is None:
        return "unknown"
    return clean(dims(found, width)) or "scalar"


def _layers(layers: Sequence[LayerFigures]) -> str:
    rows = [
        (
            layer.name,
            "+".join(layer.ops) or layer.op,
            _shape(layer.shape, columns() // 3),
            f"{layer.parameters:,}" if layer.parameters else "",
            "yes" if layer.quantizable else "float",
        )
        for layer in layers
    ]
    heads = ("layer", "ops", "output", "parameters", "quantizable")
    return table(heads, rows, numeric=("parameters",), whole=("output",))


def _summary(found: Inspection) -> str:
    can = found.quantizable
    if can is None:
        return ""
    return (
        f"{can.layers} of {plural(can.of_layers, 'layer')} can be quantized for {found.target}: "
        f"{plural(can.activations, 'activation')}, {plural(can.weights, 'weight')}."
    )


def _scales(scales: Sequence[StoredScale]) -> str:
    rows = [
        (
            item.tensor,
            item.type,
            item.channels,
            number(item.scale[0]) if item.scale else "-",
            item.zero_point[0] if item.zero_point else "-",
        )
        for item in scales
    ]
    return table(("tensor", "type", "channels", "scale", "zero point"), rows, numeric=("channels", "scale"))
