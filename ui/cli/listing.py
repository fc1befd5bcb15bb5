"""The figures of `commands` as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantscope.core.words import decibels, plural
from quantscope.ui.terminal.columns import cells, columns, cut, dims
from quantscope.ui.terminal.console import clean, number, size, table

Figures = Mapping[str, Any]
WORST = 5  # layers that a comparison marks in each column
LOSING = 8  # layers that saturate, shown at the most


def shape(found: list[Any] | None, width: int) -> str:
    """Dimensions as 1x3x224x224; `?` where unknown, and names cut to keep to `width` columns."""
    if found is None:
        return "unknown"
    return clean(dims(found, width)) or "scalar"


def inspection(found: Figures) -> str:
    """What `inspect` shows."""
    width = columns()
    lines = [
        f"{cut(clean(found['name']), width // 2)}: opset {found['opset']}, "
        f"{plural(found['parameters'], 'parameter')}, {size(found['size_bytes'])}"
    ]
    for kind in ("inputs", "outputs"):
        for info in found[kind]:
            room = width - len(f"  {kind[:-1]:<6}    {info['type']}  ")
            size_ = cut(shape(info["shape"], room // 2), room - 3)
            name = cut(clean(info["name"]), room - cells(size_))
            lines.append(f"  {kind[:-1]:<6}  {name}  {info['type']}  {size_}")
    ops = ", ".join(f"{cut(clean(op), width // 2)} {count}" for op, count in found["ops"].items())
    lines += [f"  ops     {ops}", ""]
    if found["quantized"]:
        lines += ["This model is already quantized; these are its parameters.", "", _scales(found["scales"])]
    else:
        lines += [_layers(found["layers"]), "", _summary(found)]
    lines += [f"note: {clean(note)}" for note in found["notes"]]
    return "\n".join(lines)


def _layers(layers: list[Figures]) -> str:
    rows = [
        (
            layer["name"],
            "+".join(layer["ops"]) or layer["op"],
            shape(layer["shape"], columns() // 3),
            f"{layer['parameters']:,}" if layer["parameters"] else "",
            "yes" if layer["quantizable"] else "float",
        )
        for layer in layers
    ]
    heads = ("layer", "ops", "output", "parameters", "quantizable")
    return table(heads, rows, numeric=("parameters",), whole=("output",))


def _summary(found: Figures) -> str:
    can = found["quantizable"]
    return (
        f"{can['layers']} of {plural(can['of_layers'], 'layer')} can be quantized for {found['target']}: "
        f"{plural(can['activations'], 'activation')}, {plural(can['weights'], 'weight')}."
    )


def _scales(scales: list[Figures]) -> str:
    rows = [
        (
            item["tensor"],
            item["type"],
            item["channels"],
            number(item["scale"][0]) if item["scale"] else "-",
            item["zero_point"][0] if item["zero_point"] else "-",
        )
        for item in scales
    ]
    return table(("tensor", "type", "channels", "scale", "zero point"), rows, numeric=("channels", "scale"))


def calibration(result: Figures) -> str:
    """What `calibrate` shows."""
    return (
        f"wrote {clean(result['output'])}: statistics of {plural(len(result['tensors']), 'tensor')} "
        f"over {plural(result['samples'], 'sample')}"
    )


def quantization(result: Figures) -> str:
    """What `quantize` shows."""
    sizes, layers = result["size_bytes"], result["layers"]
    integer = sum(count for precision, count in layers.items() if precision != "float")
    lines = [
        f"wrote {clean(result['output'])}: {size(sizes['float'])} -> {size(sizes['quantized'])}, "
        f"{plural(integer, 'layer')} in integers, {layers['float']} in float"
    ]
    if result["trials"]:
        best = next(trial for trial in result["trials"] if trial["taken"])
        lines.append(
            f"best of {len(result['trials'])} tried: {best['label']}, {decibels(best['sqnr_db'], 2)}"
        )
        refused = [t for t in result["trials"] if t["refused"] and t["sqnr_db"] > best["sqnr_db"]]
        for trial in refused:
            figure = decibels(trial["sqnr_db"], 2)
            lines.append(f"not taken: {trial['label']}, {figure}, which {trial['refused']}")
    lines += [clean(sentence) for sentence in (*result["story"], *result["passes"])]
    if result["recipe"]:
        saved = clean(result["recipe"])
        lines.append(f"wrote {saved}: repeat this with --recipe {saved}")
    lines += [f"note: {clean(note)}" for note in result["notes"]]
    if "comparison" in result:
        lines += ["", comparison(result["comparison"])]
    return "\n".join(lines)


def tuning(result: Figures) -> str:
    """What `tune` shows."""
    lines = [clean(sentence) for sentence in result["story"]]
    if result["front"] is not None:
        lines += ["", _front(result["front"]), _taken(result["front"])]
        lines += [f"note: {note}" for note in result["front"]["notes"]]
    saved = clean(result["recipe"])
    lines.append(f"wrote {saved}: use it with quantscope quantize --recipe {saved}")
    return "\n".join(lines)


def _front(found: Figures) -> str:
    """The points of a front, the one taken marked."""
    last = "below float" if found["labelled"] else "changed"
    rows = [
        (
            "*" if point["taken"] else "",
            size(point["size_bytes"]),
            f"{100.0 * point['size_bytes'] / found['float']['size_bytes']:.1f} %",
            f"{100.0 * point['time_share']:.0f} %",
            "exact" if point["exact"] else f"{point['sqnr_db']:.2f} dB",
            _percent(point["top1"]),
            "-" if point["drop"] is None else f"{point['drop']:.2f}",
            len(point["layers"]),
        )
        for point in found["points"]
    ]
    top1 = "top-1 over positions" if found["positions"] else "top-1"
    head = ("", "size", "of float", "time (est.)", "SQNR", top1, last, f"not {found['lowest']}")
    return table(head, rows, numeric=head[1:])


def _taken(found: Figures) -> str:
    """Which point was taken."""
    point = next(point for point in found["points"] if point["taken"])
    share = 100.0 * point["size_bytes"] / found["float"]["size_bytes"]
    given = list(point["layers"].values())
    counts = {precision: given.count(precision) for precision in dict.fromkeys(sorted(given))}
    rest = found["layers"] - len(given)
    layers = ", ".join(f"{n} in {p}" for p, n in {found["lowest"]: rest, **counts}.items() if n)
    error = "exact" if point["exact"] else f"{point['sqnr_db']:.2f} dB"
    if point["drop"] is not None:
        over = " over positions" if found["positions"] else ""
        what = f"of top-1{over} below float" if found["labelled"] else f"of classes{over} changed"
        error += f", {point['drop']:.2f} points {what}"
    where = "samples kept for judging" if found["held_out"] else "samples, the same that chose"
    return (
        f"Taken: {size(point['size_bytes'])} ({share:.1f} % of float), {error}, "
        f"on {found['samples']} {where}; of {plural(found['layers'], 'layer')} {layers}."
    )


def comparison(result: Figures) -> str:
    """What `compare` shows."""
    sizes, latency, default = result["size_bytes"], result["latency_ms"], result["default_session"]
    other = default if default is not None and not default["equal"] else None
    runs = [result] if other is None else [result, other]
    outputs, accuracies = [run["output"] for run in runs], [run["accuracy"] for run in runs]
    rows: list[tuple[object, ...]] = [
        ("output cosine", "", *(number(output["cosine"], 6) for output in outputs)),
        ("output SQNR", "", *map(_sqnr, outputs)),
        ("output MSE", "", *(number(output["mse"]) for output in outputs)),
    ]
    accuracy = result["accuracy"]
    over = " over positions" if result["positions"] else ""
    if accuracy is not None:
        rows.append(
            (f"top-1{over}", _percent(accuracy["float"]), *(_percent(a["quantized"]) for a in accuracies))
        )
        if accuracy["float_top5"] is not None:
            top5 = (_percent(a["quantized_top5"]) for a in accuracies)
            rows.append(("top-5", _percent(accuracy["float_top5"]), *top5))
        if accuracy["float_miou"] is not None:
            miou = (_percent(a["quantized_miou"]) for a in accuracies)
            rows.append(("mean IoU", _percent(accuracy["float_miou"]), *miou))
    if result["agreement"] is not None:
        rows.append((f"same first class{over}", "", *(_percent(run["agreement"]) for run in runs)))
    both = "" if other is None else size(sizes["quantized"])
    rows.append(("size", size(sizes["float"]), size(sizes["quantized"]), both)[: 2 + len(runs)])
    if latency is not None:
        times = [latency["float"], latency["quantized"], latency["default_session"]]
        rows.append(("latency", *(number(ms, 3, " ms") for ms in times[: 1 + len(runs)])))
    head = ("", "float", "quantized", "default session")[: 2 + len(runs)]
    text = table(head, rows, numeric=head[1:])
    count = f"over {plural(result['samples'], 'sample')}"
    layers = _worst(result["layers"], result["layer_samples"])
    return "\n".join(filter(None, [text, count, _outputs(result["outputs"]), _saturation(result), layers]))


def _outputs(outputs: list[Figures]) -> str:
    """Each output by itself, in parts where its channels differ widely; "" where there is one of one part."""
    rows = []
    for item in outputs:
        by_channel = item["channels"] or {"size": 0, "parts": []}
        for part in by_channel["parts"]:
            some = len(by_channel["parts"]) > 1
            which = f"{part['channels']} of {by_channel['size']}, first {part['first']}" if some else "all"
            lost = f"{part['lost']} constant" if part["lost"] else ""
            rows.append((item["name"], which, _sqnr(part), lost))
        if not by_channel["parts"]:
            share = item["equal_share"]
            figure = _decibel(item) if share is None else f"{_percent(share)} equal"
            rows.append((item["name"], "all", figure, ""))
    if len(rows) < 2:
        return ""
    said = "\noutputs by themselves, and in each the channels of about one size"
    return f"{said}\n{table(('output', 'channels', 'SQNR', 'lost'), rows, numeric=('SQNR',))}"


def _sqnr(output: Figures) -> str:
    return "no difference" if output.get("exact") else number(output["sqnr_db"], 4, " dB")


def _saturation(result: Figures) -> str:
    """What x86 without VNNI makes of the file, in words."""
    default, risky = result["default_session"], result["may_saturate"]
    remedy = "quantize --target onnxruntime-any-x86 writes a file that cannot"
    if default is None:
        if not risky:
            return ""
        return f"on x86 CPUs without VNNI {_layers_may(risky)} saturate in a default session; {remedy}"
    if default["equal"]:
        said = "a default session on this CPU, which has no VNNI, gives the same outputs, bit for bit"
        return said if not risky else f"{said}; on other inputs {_layers_may(risky)} saturate; {remedy}"
    lines = [
        "\nThis CPU has no VNNI: a default ONNX Runtime session adds products in 16 bits and saturates. "
        "The figures under 'quantized' are exact: for these set session.x64quantprecision to 1, or use "
        "quantscope quantize --target onnxruntime-any-x86, which writes a file that cannot saturate."
    ]
    shown = default["layers"][:LOSING]
    if shown:
        rows = [(item["name"], _percent(item["changed"]), f"{item['sqnr_db']:.1f} dB") for item in shown]
        of = f", the {LOSING} worst of {len(default['layers'])}" if len(default["layers"]) > LOSING else ""
        lines.append(f"layers that saturate{of}: values changed, and SQNR against exact sums")
        lines.append(table(("layer", "changed", "SQNR"), rows, numeric=("changed", "SQNR")))
    return "\n".join(lines)


def _layers_may(names: list[str]) -> str:
    return f"{plural(len(names), 'layer')} may"


def _worst(layers: list[Figures], samples: int) -> str:
    """The layers that are worst on their own, and those where the most error has gathered."""
    kinds = ("local", "cumulative")
    worst = {kind: _lowest(layers, kind) for kind in kinds}
    shown = [layer for layer in layers if any(layer["name"] in worst[kind] for kind in kinds)]
    if not shown:
        return ""
    rows = []
    for layer in shown:
        figures = [_decibel(layer[kind]) + (" *" if layer["name"] in worst[kind] else "  ") for kind in kinds]
        rows.append(
            (layer["name"], layer["type"], *figures, number((layer["cumulative"] or {}).get("cosine"), 5))
        )
    head = ("layer", "type", "local SQNR  ", "cumulative SQNR  ", "cumulative cosine")
    text = (
        f"\nlayers over {plural(samples, 'sample')}, in the order of the network; * marks the {WORST} worst "
        "alone (local), and with all before them (cumulative)"
    )
    return f"{text}\n{table(head, rows, numeric=head[2:])}"


def _lowest(layers: list[Figures], kind: str) -> set[str]:
    known = [layer for layer in layers if layer[kind] and layer[kind]["sqnr_db"] is not None]
    known.sort(key=lambda layer: float(layer[kind]["sqnr_db"]))
    return {layer["name"] for layer in known[:WORST]}


def _decibel(error: Figures | None) -> str:
    """An SQNR with one decimal."""
    if error is None or error["sqnr_db"] is None:
        return "exact" if error is not None and error["exact"] else "-"
    return f"{error['sqnr_db']:.1f} dB"


def machine(result: Figures) -> str:
    """What `doctor` shows."""
    sums, packages = result["sums"], result["packages"]
    rows = [
        ("system", result["system"]),
        ("Python", result["python"]),
        *packages.items(),
        ("processor", result["processor"]),
        ("instruction sets", ", ".join(result["instruction_sets"]) or "none of those that matter here"),
        ("cores", result["cores"]),
        ("memory", f"{size(result['memory'])}, {size(result['available'])} available"),
        (
            "exact integer sums",
            "yes" if sums["exact"] else "no: figures of int8 models are not reliable here",
        ),
        ("default session", "saturates at 16 bits" if sums["saturates"] else "exact, too"),
    ]
    return "\n".join([table(("", "this machine"), rows, folded=("this machine",)), "", *result["advice"]])


def thresholds(result: Figures) -> str:
    """What `thresholds` shows."""
    rows = [
        (
            method,
            number(found["low"], 6),
            number(found["high"], 6),
            number(found["scale"], 6),
            "-" if found["zero_point"] is None else found["zero_point"],
            number(found["mse"], 4),
        )
        for method, found in result.items()
    ]
    head = ("method", "low", "high", "scale", "zero point", "mse")
    return table(head, rows, numeric=head[1:])


def _percent(share: float | None) -> str:
    return number(None if share is None else 100.0 * share, 4, " %")
