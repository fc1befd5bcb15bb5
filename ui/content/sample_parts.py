"""Parts of a sample's card as plain data: pictures with boxes, bars, tokens, lines and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from quantscope.ui.content import text
from quantscope.ui.content.sample_names import class_name, token_word

Array = npt.NDArray[Any]
Tone = Literal["", "good", "bad", "warn"]
NUMBERS = 12  # values that are listed
TOKENS = 400  # that are listed
BYTES = 1200  # that are shown
BARS = 5  # classes of the float model that are drawn
LEAST = 0.005  # of all, that some model must give a class for it to be drawn


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
