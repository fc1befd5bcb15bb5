"""One sample as a card: what goes in, what each model answers, and what changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.sources import IGNORED
from quantscope.core.evaluate import BySample
from quantscope.ui.content import sample_lines as signals
from quantscope.ui.content import sample_parts as parts
from quantscope.ui.content import sample_picture_parts as pictures
from quantscope.ui.content import text
from quantscope.ui.content.sample_boxes import LEAST_SCORE, BoxHead, decode, matched
from quantscope.ui.content.sample_kinds import (
    Drawing,
    InputDrawing,
    InputKind,
    Layout,
    OutputKind,
    PixelRange,
)
from quantscope.ui.content.sample_names import class_name
from quantscope.ui.content.sample_parts import Part, Tone
from quantscope.ui.content.sample_pictures import picture, size_of

Array = npt.NDArray[Any]
FLOAT = "float"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleRow:
    """One row of data with what all models give for it; arrays without the axis of rows."""

    row: int
    inputs: Mapping[str, Array]
    outputs: tuple[Mapping[str, Array], ...]  # of the float model, then of each version
    labels: Array | None = None  # of its positions; None without, and where the whole sample has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """What one model answers."""

    words: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCard:
    """One sample."""

    row: int
    title: str
    badges: tuple[Badge, ...]
    note: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Names of what is shown."""

    models: tuple[str, ...]  # the float model's first
    classes: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a sample is drawn, and what the figures of all samples say."""

    found: BySample
    drawing: Drawing
    words: Words
    head: BoxHead | None = None
    shown: int = 0  # version that is judged
    labels: Mapping[str, InputDrawing] = field(default_factory=dict)


def card(sample: SampleRow, look: Look) -> SampleCard:
    """A sample with everything that is shown of it."""
    found, row = look.found, sample.row
    label = None if found.labels is None else int(found.labels[row])
    known = label is not None and label != IGNORED
    title = f"Sample {row:,}"
    if known and label is not None:
        title += f" · label {class_name(label, look.words.classes)}"
    drawn: list[Part] = []
    for name, value in sample.inputs.items():
        drawn += _input_parts(name, value, sample, look)
    for name in found.outputs:
        if name in sample.outputs[0]:
            drawn += _output_parts(name, sample, look, label if known else None)
    return SampleCard(
        row=row,
        title=title,
        badges=_badges(look, row, known),
        note=_note(look, row),
        parts=tuple(drawn),
    )


def _badges(look: Look, row: int, known: bool) -> tuple[Badge, ...]:
    """What each model answers; coloured by right and wrong, or by the float model's answer."""
    found = look.found
    if found.scored is None:
        return ()
    if found.positions:
        out = []
        for version, name in zip(found.versions, look.words.models[1:], strict=True):
            same = float(version.errors.same[row])
            if not np.isnan(same):
                tone: Tone = "" if same == 1.0 else "warn" if same > 0.9 else "bad"
                out.append(Badge(words=f"{name}: {text.percent(same, 1)} as in float", tone=tone))
        return tuple(out)
    answers = [found.floats, *(version.answers for version in found.versions)]
    first = int(found.floats.first[row])
    badges = []
    for answer, name in zip(answers, look.words.models, strict=True):
        own = int(answer.first[row])
        mark: Tone = "" if own == first else "warn"
        sign = ""
        if known:
            mark = "good" if answer.right[row] == 1.0 else "bad"
            sign = " ✓" if mark == "good" else " ✗"
        badges.append(Badge(words=f"{name}: {class_name(own, look.words.classes)}{sign}", tone=mark))
    return tuple(badges)


def _note(look: Look, row: int) -> str:
    """The error of the version that is judged."""
    errors = look.found.versions[look.shown].errors
    name = look.words.models[look.shown + 1]
    several = len(look.found.outputs) > 1
    said = []
    for at, output in enumerate(look.found.outputs):
        value, equal = float(errors.sqnr_db[row, at]), float(errors.equal[row, at])
        if np.isnan(value) and np.isnan(equal):
            figure = "not comparable"
        elif np.isnan(value):
            figure = f"{text.percent(equal, 1)} equal"
        else:
            figure = f"SQNR {text.decibel(value)}"
        said.append(f"{text.short(output, 20)} {figure}" if several else figure)
    return f"{name}: " + " · ".join(said[:4]) + (" …" if len(said) > 4 else "")


# --- inputs ---


def _input_parts(name: str, value: Array, sample: SampleRow, look: Look) -> list[Part]:
    drawing = look.drawing.inputs.get(name)
    if drawing is None or drawing.kind is InputKind.HIDDEN:
        return []
    caption = "input" if len(sample.inputs) == 1 else text.short(name, 20)
    if drawing.kind is InputKind.IMAGE:
        if OutputKind.BOXES in look.drawing.outputs.values() and name == look.drawing.image:
            return []  # the boxes are drawn on it
        return [pictures.shown_picture(picture(value, drawing), caption, f"Sample {sample.row}: {name}")]
    if drawing.kind is InputKind.TOKENS:
        if OutputKind.TOKEN_CLASSES in look.drawing.outputs.values():
            return []  # shown with their classes
        return [parts.tokens(value, look.words.tokens, caption)]
    if drawing.kind is InputKind.BYTES:
        return [parts.bytes_text(value, caption)]
    if drawing.kind is InputKind.SIGNAL:
        return [signals.lines([value], [caption], caption)]
    if drawing.kind is InputKind.MAP:
        return list(pictures.heat_parts([value], [caption], ""))
    return [parts.numbers([value], ["value"], caption, ())]


# --- outputs ---


def _output_parts(name: str, sample: SampleRow, look: Look, label: int | None) -> list[Part]:
    kind = look.drawing.outputs.get(name, OutputKind.HIDDEN)
    values = [run[name] for run in sample.outputs]
    models = look.words.models
    if kind is OutputKind.HIDDEN:
        return []
    if any(one.shape != values[0].shape for one in values) and kind is not OutputKind.BOXES:
        shapes = ", ".join(f"{m} {text.dims(v.shape)}" for m, v in zip(models, values, strict=True))
        return [parts.NumbersPart(caption=f"{text.short(name)}: shapes differ", models=(), rows=((shapes,),))]
    draw = _DRAWN.get(kind)
    several = len(look.found.outputs) > 1
    caption = text.short(name, 24) if several else "output"
    if draw is None:
        return []
    return draw(_Output(name=name, values=values, sample=sample, look=look, caption=caption, label=label))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Output:
    """One output of a sample, as it is drawn."""

    name: str
    values: Sequence[Array]  # of the float model, then of each version
    sample: SampleRow
    look: Look
    caption: str
    label: int | None  # the sample's, where it has one


Draw = Callable[[_Output], list[Part]]


def _classes(out: _Output) -> list[Part]:
    own = out.label if out.name == out.look.found.scored else None
    return [
        parts.bars(
            [one.reshape(-1) for one in out.values], out.look.words.models, own, out.look.words.classes
        )
    ]


def _class_map(out: _Output) -> list[Part]:
    axis = class_axis(out.values[0], out.look.found.classes if out.name == out.look.found.scored else 0)
    classes = [parts.first_classes(one, axis) for one in out.values]
    if classes[0].ndim != 2:
        return [parts.numbers(out.values, out.look.words.models, out.caption, out.look.words.classes)]
    truth = out.sample.labels if out.name == out.look.found.scored else None
    return list(
        pictures.map_parts(classes, out.look.words.models, out.look.words.classes, out.caption, truth)
    )


def _token_classes(out: _Output) -> list[Part]:
    axis = out.values[0].ndim - 1
    if out.name == out.look.found.scored and out.values[0].shape[axis] != out.look.found.classes:
        axis = 0
    first = [parts.first_classes(one, axis) for one in out.values]
    given = next(
        (
            value
            for key, value in out.sample.inputs.items()
            if out.look.drawing.inputs.get(key, _NOTHING).kind is InputKind.TOKENS
            and value.size == first[0].size
        ),
        None,
    )
    changed = sum(int(np.count_nonzero(one != first[0])) for one in first[-1:])
    words = f"{out.caption}: {changed:,} of {text.plural(first[0].size, 'token')} differ"
    return [
        parts.token_classes(
            given, first, out.look.words.models, out.look.words.tokens, out.look.words.classes, words
        )
    ]


_NOTHING = InputDrawing(kind=InputKind.HIDDEN)


def _image(out: _Output) -> list[Part]:
    drawing = _output_image(out.values[0], out.look)
    drawn: list[Part] = [
        pictures.shown_picture(picture(one, drawing), model, f"{out.caption} by {model}")
        for one, model in zip(out.values, out.look.words.models, strict=True)
    ]
    for one, model in zip(out.values[1:], out.look.words.models[1:], strict=True):
        axis = 0 if drawing.layout is Layout.FIRST else -1
        apart = np.asarray(one, np.float32) - np.asarray(out.values[0], np.float32)
        drawn.append(pictures.difference_part(apart.mean(axis=axis) if apart.ndim == 3 else apart, model, ""))
    return drawn


def _output_image(value: Array, look: Look) -> InputDrawing:
    """Channels by shape, and black and white by the float model's values."""
    first = value.ndim == 3 and value.shape[0] in (1, 3)
    layout = Layout.FIRST if first or value.ndim < 3 else Layout.LAST
    known = value[np.isfinite(value)]
    low, high = (float(v) for v in np.percentile(known, (0.5, 99.5))) if known.size else (0.0, 1.0)
    if low < -0.3:
        span = PixelRange.SIGNED if high <= 1.2 and low >= -1.2 else PixelRange.EACH
        span = PixelRange.BYTE if high > 100 else span
    else:
        span = PixelRange.UNIT if high <= 1.3 else PixelRange.BYTE if high <= 300 else PixelRange.EACH
    source = look.drawing.inputs.get(look.drawing.image or "", _NOTHING)
    return InputDrawing(kind=InputKind.IMAGE, layout=layout, range=span, bgr=source.bgr)


def _boxes(out: _Output) -> list[Part]:
    head, image = out.look.head, out.look.drawing.image
    if head is None or image is None or out.name != head.boxes:
        return []
    drawing = out.look.drawing.inputs[image]
    sides = size_of(out.sample.inputs[image], drawing)[:2]
    found = [decode(head, run, sides) for run in out.sample.outputs]
    shown = picture(out.sample.inputs[image], drawing)
    judged = found[out.look.shown + 1]
    drawn: list[Part] = []
    for at, (boxes, model) in enumerate(zip(found, out.look.words.models, strict=True)):
        agreed = matched(judged if not at else found[0], boxes)
        lone = agreed.count(False)
        words = f"{model} · {text.plural(len(boxes), 'box', 'boxes')}"
        if lone and at:
            words += f", {lone:,} not in float"
        elif lone:
            words += f", {lone:,} missed by {out.look.words.models[out.look.shown + 1]}"
        drawn.append(
            pictures.shown_picture(
                shown,
                words,
                f"Sample {out.sample.row}: boxes of {model}",
                note="" if at else f"boxes of {100 * LEAST_SCORE:.0f} % and more",
                boxes=pictures.drawn_boxes(boxes, agreed, out.look.words.classes, reference=not at),
            )
        )
    return drawn


def _map(out: _Output) -> list[Part]:
    of = out.caption if len(out.look.found.outputs) > 1 else ""
    return list(pictures.heat_parts(out.values, out.look.words.models, of))


def _signal(out: _Output) -> list[Part]:
    away = signals.apart(out.values, out.look.words.models, out.caption)
    return [
        signals.lines(out.values, out.look.words.models, out.caption),
        *([away] if away is not None else []),
    ]


def _values(out: _Output) -> list[Part]:
    return [parts.numbers(out.values, out.look.words.models, out.caption, ())]


_DRAWN: dict[OutputKind, Draw] = {
    OutputKind.CLASSES: _classes,
    OutputKind.CLASS_MAP: _class_map,
    OutputKind.TOKEN_CLASSES: _token_classes,
    OutputKind.BOXES: _boxes,
    OutputKind.IMAGE: _image,
    OutputKind.SIGNAL: _signal,
    OutputKind.MAP: _map,
    OutputKind.VALUES: _values,
}


def class_axis(value: Array, classes: int) -> int | None:
    """The axis of the classes in a map, the first or the last one; None for integers."""
    if value.dtype.kind in "iub" or value.ndim < 3:
        return None
    if classes:
        return 0 if value.shape[0] == classes else value.ndim - 1
    return 0 if value.shape[0] <= value.shape[-1] or value.shape[0] <= 256 else value.ndim - 1
