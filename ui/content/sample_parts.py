"""Parts of a sample's card as plain data: pictures with boxes, bars, tokens, lines and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from quantscope.ui.content import text
from quantscope.ui.content.sample_boxes import Box
from quantscope.ui.content.sample_names import class_name, token_word
from quantscope.ui.content.sample_pictures import (
    Picture,
    agreement_picture,
    class_colours,
    class_picture,
    difference_picture,
    heat_picture,
    plane_of,
)

Array = npt.NDArray[Any]
Tone = Literal["", "good", "bad", "warn"]
POINTS = 320  # of a line that are drawn
NUMBERS = 12  # values that are listed
TOKENS = 400  # that are listed
BYTES = 1200  # that are shown
BARS = 5  # classes of the float model that are drawn
LEAST = 0.005  # of all, that some model must give a class for it to be drawn
LEGEND = 6  # classes of a map that are named
SMALL = 96  # pixels of a side up to which each is seen as a square


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBox:
    """A box on a picture; shares of its sides."""

    x: float
    y: float
    width: float
    height: float
    words: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Swatch:
    """A colour and what it stands for."""

    colour: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePart:
    """A picture."""

    caption: str
    src: str
    alt: str
    width: int
    height: int
    square: bool  # pixels are seen as squares
    boxes: tuple[DrawnBox, ...] = ()
    legend: tuple[Swatch, ...] = ()
    note: str = ""
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One class with the score that each model gives it."""

    name: str
    shares: tuple[float, ...]  # 0 to 1
    words: tuple[str, ...]
    label: bool  # it is the right one


@dataclass(frozen=True, slots=True, kw_only=True)
class BarsPart:
    """Scores of classes, a bar for each model."""

    caption: str
    models: tuple[str, ...]
    rows: tuple[Bar, ...]
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token."""

    word: str
    title: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensPart:
    """A text."""

    caption: str
    tokens: tuple[Token, ...]
    kind: Literal["tokens"] = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Characters as they are."""

    caption: str
    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points of one line; None where a value is not finite."""

    name: str
    points: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesPart:
    """A signal as the models give it."""

    caption: str
    alt: str
    lines: tuple[Line, ...]
    low: float
    high: float
    ends: tuple[str, str]  # low and high in words
    kind: Literal["lines"] = "lines"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbersPart:
    """Values side by side."""

    caption: str
    models: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # name, then a value for each model
    kind: Literal["numbers"] = "numbers"


Part = PicturePart | BarsPart | TokensPart | TextPart | LinesPart | NumbersPart


def shown_picture(
    picture: Picture,
    caption: str,
    alt: str,
    *,
    boxes: tuple[DrawnBox, ...] = (),
    legend: tuple[Swatch, ...] = (),
    note: str = "",
) -> PicturePart:
    """A picture with its words."""
    if picture.beyond:
        many = text.plural(picture.beyond, "pixel")
        note = f"{many} far outside the shown range, in orange"
    return PicturePart(
        caption=caption,
        src=picture.src,
        alt=alt,
        width=picture.width,
        height=picture.height,
        square=max(picture.width, picture.height) <= SMALL,
        boxes=boxes,
        legend=legend,
        note=note,
    )


def probabilities(scores: Array) -> tuple[Array, bool]:
    """Scores (classes,) as shares of 1, and whether a softmax made them so."""
    values = np.asarray(scores, np.float64)
    if not np.isfinite(values).all():
        return np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0), False
    if values.min() >= 0.0 and values.max() <= 1.0:
        return values, False
    powers = np.exp(values - values.max())
    return powers / powers.sum(), True


def bars(scores: Sequence[Array], models: Sequence[str], label: int | None, names: Sequence[str]) -> BarsPart:
    """The float model's best classes, with those that any version puts first and the right one.

    Args:
        scores: (classes,) of each model, the float model's first.
        models: Their names.
        label: The right class, where it is known.
        names: Of classes.
    """
    shares = [probabilities(one) for one in scores]
    order = [int(at) for at in np.argsort(-np.nan_to_num(scores[0], nan=-np.inf), kind="stable")[:BARS]]
    wanted = [int(np.nan_to_num(one, nan=-np.inf).argmax()) for one in scores[1:]]
    if label is not None and 0 <= label < len(scores[0]):
        wanted.append(label)
    missing = [at for at in dict.fromkeys(wanted) if at not in order]
    kept = [*order[: max(2, BARS - len(missing))], *missing] if missing else order
    softmax = any(done for _, done in shares)
    told = [at for at in kept if at == label or any(values[at] >= LEAST for values, _ in shares)]
    kept = [at for at in kept if at in told or at in kept[:2]]
    return BarsPart(
        caption="classes, by softmax of their scores" if softmax else "classes, by their scores",
        models=tuple(models),
        rows=tuple(
            Bar(
                name=class_name(at, names),
                shares=tuple(float(values[at]) for values, _ in shares),
                words=tuple(_share(float(values[at])) for values, _ in shares),
                label=at == label,
            )
            for at in kept
        ),
    )


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %"


def map_parts(
    classes: Sequence[Array],
    models: Sequence[str],
    names: Sequence[str],
    of: str,
    truth: Array | None = None,
) -> list[PicturePart]:
    """Class maps of all models, each with how much of it is the float model's, and where versions differ.

    Args:
        classes: (height, width) of each model, the float model's first.
        models: Their names.
        names: Of classes.
        of: Name of the output.
        truth: (height, width) labels, negative where there is none.
    """
    first = classes[0]
    known = [] if truth is None or truth.ndim != 2 else [truth]
    legend = _legend([*classes, *known], names)
    parts = [shown_picture(class_picture(one), "labels", f"Labels of {of}") for one in known]
    for at, (one, model) in enumerate(zip(classes, models, strict=True)):
        same = one.shape == first.shape
        share = float(np.mean(one == first)) if same and first.size else 0.0
        words = model if not at else f"{model} · {text.percent(share, 1)} the same" if same else model
        parts.append(
            shown_picture(
                class_picture(one), words, f"Class map of {of} by {model}", legend=legend if not at else ()
            )
        )
    for one, model in zip(classes[1:], models[1:], strict=True):
        if one.shape == first.shape and np.any(one != first):
            picture = agreement_picture(first, one)
            parts.append(shown_picture(picture, f"where {model} differs", f"Pixels where {model} differs"))
    return parts


def _legend(classes: Sequence[Array], names: Sequence[str]) -> tuple[Swatch, ...]:
    counts = np.bincount(np.concatenate([np.maximum(one, 0).ravel() for one in classes]))
    colours = class_colours(len(counts))
    most = [int(at) for at in np.argsort(-counts, kind="stable")[:LEGEND] if counts[at]]
    swatches = [
        Swatch(
            colour="#" + "".join(f"{int(v):02x}" for v in colours[at]),
            words=f"class {class_name(at, names)}" if at >= len(names) else class_name(at, names),
        )
        for at in most
    ]
    return tuple(swatches)


def heat_parts(values: Sequence[Array], models: Sequence[str], of: str) -> list[PicturePart]:
    """One plane of values for each model, all between the float model's ends, and the differences.

    Args:
        values: Of each model, the float model's first.
        models: Their names.
        of: Whose values they are, where a sample has several; "" otherwise.
    """
    planes = [plane_of(one) for one in values]
    known = planes[0][np.isfinite(planes[0])]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    ends = f"dark {text.number(low, 3)} … bright {text.number(high, 3)}"
    name = f"{of} · " if of else ""
    parts = [
        shown_picture(
            heat_picture(plane, low, high), f"{name}{model}", f"Heat map of {model}", note="" if at else ends
        )
        for at, (plane, model) in enumerate(zip(planes, models, strict=True))
    ]
    for plane, model in zip(planes[1:], models[1:], strict=True):
        if plane.shape == planes[0].shape:
            parts.append(difference_part(plane - planes[0], model, of))
    return parts


def difference_part(values: Array, model: str, of: str) -> PicturePart:
    """Where a model's values are lower (blue) and higher (red) than the float model's."""
    known = np.abs(values[np.isfinite(values)])
    largest = float(known.max(initial=0.0))
    words = (
        "no difference"
        if not largest
        else f"blue −{text.number(largest, 3)} … red +{text.number(largest, 3)}"
    )
    picture = difference_picture(values, largest)
    name = f"{of} · " if of else ""
    return shown_picture(picture, f"{name}{model} − float", f"{model} minus float", note=words)


def drawn_boxes(
    boxes: Sequence[Box], agreed: Sequence[bool], names: Sequence[str], *, reference: bool
) -> tuple[DrawnBox, ...]:
    """Boxes for the browser.

    Args:
        boxes: As decoded.
        agreed: For each whether the other model has found it too.
        names: Of classes.
        reference: They are the float model's: those that the version misses are marked.
    """
    alone: Tone = "bad" if reference else "warn"
    lone = not names and len({box.number for box in boxes}) < 2
    return tuple(
        DrawnBox(
            x=box.x0,
            y=box.y0,
            width=max(0.0, box.x1 - box.x0),
            height=max(0.0, box.y1 - box.y0),
            words=_box_words(box, names, lone=lone),
            tone="good" if known else alone,
        )
        for box, known in zip(boxes, agreed, strict=True)
    )


def _box_words(box: Box, names: Sequence[str], *, lone: bool) -> str:
    """Class and score; the score alone where there is one class without a name."""
    score = f"{100 * box.score:.0f} %"
    if lone:
        return score
    named = box.number < len(names)
    return f"{'' if named else 'class '}{class_name(box.number, names)} {score}"


def tokens(numbers: Array, words: Sequence[str], caption: str) -> TokensPart:
    """Input tokens as they are."""
    flat = numbers.reshape(-1)
    shown = tuple(Token(word=token_word(int(n), words), title=f"{int(n):,}", tone="") for n in flat[:TOKENS])
    return TokensPart(caption=_cut(caption, flat.size), tokens=shown)


def bytes_text(numbers: Array, caption: str) -> TextPart:
    """Bytes as ASCII; what is no character of it becomes a dot, and what only fills up is left out."""
    flat = [int(n) for n in numbers.reshape(-1) if 0 <= n < 256]
    shown = "".join(chr(n) if 32 <= n < 127 or n == 10 else "\t" if n == 9 else "·" for n in flat[:BYTES])
    more = f", first {BYTES:,} of {len(flat):,} bytes" if len(flat) > BYTES else f", {len(flat):,} bytes"
    return TextPart(caption=caption + more, text=shown)


def token_classes(
    numbers: Array | None,
    first: Sequence[Array],
    models: Sequence[str],
    words: Sequence[str],
    names: Sequence[str],
    caption: str,
) -> TokensPart:
    """Tokens, each marked where a version puts another class first than the float model does.

    Args:
        numbers: The input's tokens; None where it has none.
        first: (positions,) classes of each model, the float model's first.
        models: Their names.
        words: Of tokens.
        names: Of classes.
        caption: What is shown.
    """
    count = first[0].size
    shown = []
    for at in range(min(count, TOKENS)):
        own = [int(one.reshape(-1)[at]) if one.size > at else -1 for one in first]
        said = [f"{model}: {class_name(n, names)}" for model, n in zip(models, own, strict=True)]
        known = numbers is not None and numbers.size > at
        word = token_word(int(numbers.reshape(-1)[at]), words) if numbers is not None and known else str(at)
        tone: Tone = "" if all(n == own[0] for n in own[1:]) else "bad" if own[-1] != own[0] else "warn"
        shown.append(Token(word=word, title=f"{at}: {word.strip()} · " + ", ".join(said), tone=tone))
    return TokensPart(caption=_cut(caption, count), tokens=tuple(shown))


def _cut(caption: str, count: int) -> str:
    return f"{caption}, first {TOKENS:,} of {count:,}" if count > TOKENS else caption


def lines(values: Sequence[Array], models: Sequence[str], caption: str) -> LinesPart:
    """One signal; of several channels the one in which the models differ most, by its own size."""
    signals, channel, of = _one_channel([np.asarray(one, np.float64) for one in values])
    if of > 1:
        most = ", where they differ most" if len(values) > 1 else ""
        caption = f"{caption}, channel {channel + 1} of {of}{most}"
    where = _places(signals)
    known = np.concatenate([one[np.isfinite(one)] for one in signals])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return LinesPart(
        caption=caption,
        alt=f"{caption} by {', '.join(models)}: {signals[0].size:,} values, from {low:.4g} to {high:.4g}",
        lines=tuple(
            Line(name=model, points=tuple(_finite(float(v)) for v in one[where[where < one.size]]))
            for one, model in zip(signals, models, strict=True)
        ),
        low=low,
        high=high,
        ends=(text.number(low, 3), text.number(high, 3)),
    )


def apart(values: Sequence[Array], models: Sequence[str], caption: str) -> LinesPart | None:
    """What each version's signal is away from the float model's; None where nothing is."""
    signals, _, _ = _one_channel([np.asarray(one, np.float64) for one in values])
    with np.errstate(invalid="ignore"):
        gone = [one - signals[0] for one in signals]
    if not any(np.any(np.nan_to_num(one)) for one in gone):
        return None
    return replace(lines(gone, models, caption), caption=f"{caption}: difference to float")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _one_channel(values: Sequence[Array]) -> tuple[list[Array], int, int]:
    """(length,) of each, the channel, and how many there are."""
    flat = [one.reshape([size for size in one.shape if size > 1] or [-1]) for one in values]
    if flat[0].ndim < 2:
        return [one.reshape(-1) for one in flat], 0, 1
    channels = [one.reshape(-1, one.shape[-1]) for one in flat]
    if channels[0].shape[0] > channels[0].shape[1]:  # (length, channels)
        channels = [one.T for one in channels]
    count = len(channels[0])
    apart = np.zeros(count)
    for one in channels[1:]:
        if one.shape == channels[0].shape:
            with np.errstate(invalid="ignore"):
                apart += np.nan_to_num(((one - channels[0]) ** 2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.nan_to_num((channels[0] ** 2).sum(axis=1))
        apart = np.divide(apart, own, out=np.where(apart > 0, np.inf, 0.0), where=own > 0)
    at = int(apart.argmax()) if apart.any() else int(np.nan_to_num(channels[0]).var(axis=1).argmax())
    return [one[min(at, len(one) - 1)] for one in channels], at, count


def _places(signals: Sequence[Array]) -> Array:
    """Which values are drawn: of each stretch of a long signal its lowest and its highest."""
    first = np.nan_to_num(signals[0])
    if first.size <= POINTS:
        return np.arange(first.size)
    kept: list[int] = []
    for part in np.array_split(np.arange(first.size), POINTS // 2):
        kept += sorted({int(part[first[part].argmin()]), int(part[first[part].argmax()])})
    return np.array(kept)


def numbers(
    values: Sequence[Array], models: Sequence[str], caption: str, names: Sequence[str]
) -> NumbersPart:
    """The first values of each model."""
    flat = [one.reshape(-1) for one in values]
    rows = [
        (
            class_name(at, names) if names else str(at),
            *(text.number(float(one[at]), 4) if one.size > at else "–" for one in flat),
        )
        for at in range(min(NUMBERS, flat[0].size))
    ]
    more = f"{caption}, first {NUMBERS} of {flat[0].size:,}" if flat[0].size > NUMBERS else caption
    return NumbersPart(caption=more, models=tuple(models), rows=tuple(rows))


def first_classes(value: Array, axis: int | None) -> Array:
    """Class of each position: argmax along the axis of the classes; integers as they are."""
    if value.dtype.kind in "iub" or axis is None:
        return np.asarray(value, np.int64).reshape([size for size in value.shape if size > 1] or [1])
    return np.asarray(np.nan_to_num(value, nan=-np.inf).argmax(axis=axis))


def by_name(values: Sequence[Mapping[str, Array]], name: str) -> list[Array]:
    """One output of each model, of those that have it as the float model does."""
    return [one[name] for one in values if name in one]
