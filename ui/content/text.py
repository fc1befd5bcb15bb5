"""Names and messages that come from models and files, shown as the text they are; numbers for people.

Streamlit reads labels and messages as Markdown with extras (`:red[…]`, `:smile:`, `$x$`), and plotly
reads a subset of HTML. A layer may be called `<img onerror=…>`: it is shown, never interpreted.
"""

import html
import math
import re
from collections.abc import Sequence

from quantscope.core.words import plural as plural  # for pages, beside the other words

EARLIER = "found for an earlier state of the recipe"
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$&:^=@\"'/])")
_SHORTCODE = re.compile(r":(?=[A-Za-z0-9_+\-/])")
_BACKTICKS = re.compile(r"`+")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MINUS = re.compile(r"(?<![\w.)\]–/-])-(?=[\d∞])|(?<=\de)-(?=\d)")  # before a number, or in its exponent
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Without line breaks, control characters and marks that turn the reading direction."""
    return _CONTROL.sub(" ", text)


def escape(text: str) -> str:
    """Text for st.markdown, st.error and labels: every character stands for itself.

    A zero-width space follows a colon before a letter, since emoji and icon codes are looked for after
    escapes have been resolved.
    """
    lines = [_SPECIAL.sub(r"\\\1", _SHORTCODE.sub(":\u200b", plain(line))) for line in text.splitlines()]
    return "  \n".join(lines)


def sentence(words: str) -> str:
    """An error as a sentence of the page: with a full stop, and a capital unless a name stands first."""
    words = words.strip()
    if re.match(r"[a-z]+[ ,;:]", words):
        words = words[0].upper() + words[1:]
    return words + ("" if words.endswith((".", "!", "?", "…", ")", ":")) else ".")


def code(name: str) -> str:
    """A name as an inline code span, whatever backticks it holds."""
    name = plain(name) or " "
    fence = "`" * (max((len(run) for run in _BACKTICKS.findall(name)), default=0) + 1)
    pad = " " if "`" in name else ""
    return f"{fence}{pad}{name}{pad}{fence}"


def csv_cell(value: object) -> object:
    """A cell of a CSV table; what a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value


def safe_html(text: str) -> str:
    """Text for plotly's labels and hover boxes."""
    return html.escape(plain(text), quote=False)


def short(name: str, length: int = 28) -> str:
    """A long name cut in the middle: its start says where, its end says what."""
    name = plain(name)
    if len(name) <= length:
        return name
    tail = (length - 1) * 2 // 3
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def dims(shape: Sequence[object] | None) -> str:
    """Dimensions as 1 × 3 × 224 × 224; `?` where unknown, and long names cut."""
    if shape is None:
        return "?"
    return " × ".join("?" if dim is None else short(str(dim), 16) for dim in shape) or "one value"


def power_of_two(value: float) -> str:
    """A power of two as such; any other value in digits."""
    fraction, exponent = math.frexp(value)
    return f"2{str(exponent - 1).translate(_RAISED)}" if fraction == 0.5 else number(value, 5)


def number(value: float | None, digits: int = 4) -> str:
    """A few significant digits; powers of ten where plain digits would be long; "–" for unknown."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.{digits - 2}e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    return f"{float(f'{value:.{digits}g}'):,g}".replace("-", "−")


def typeset(sentence: str) -> str:
    """A sentence of the engine with the minus signs that pages have."""
    return _MINUS.sub("−", sentence)


def decibel(value: float | None) -> str:
    """An SQNR with its unit."""
    if value is None or math.isnan(value):
        return "–"
    return "∞ dB" if value == math.inf else f"{value:.1f} dB".replace("-", "−")


def change(value: float, unit: str = "dB") -> str:
    """A gain or a loss with its sign, e.g. +1.2 dB."""
    if math.isinf(value):
        return f"{'+' if value > 0 else '−'}∞ {unit}"
    return f"{value:+.1f} {unit}".replace("-", "−")


def cosine(value: float | None) -> str:
    """A cosine, with as many nines as it takes to tell it from 1."""
    if value is None or math.isnan(value):
        return "–"
    if value >= 1:
        return "1"
    digits = 4 if value < 0.999 else min(9, 2 - math.floor(math.log10(1 - value)))
    return f"{value:.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 2) -> str:
    """A share in percent."""
    if share is None or math.isnan(share):
        return "–"
    value = 100 * share
    if 0 < value < 10**-digits:
        return f"< {10**-digits:.{digits}f} %"
    return f"{value:.{digits}f} %" if value else "0 %"


def share(value: float) -> str:
    """A share of samples in percent, as accuracies are given."""
    return f"{100 * value:.1f} %"


def size(count: float) -> str:
    """Bytes in the unit people use."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError


def milliseconds(value: float) -> str:
    """A time of one run, three digits or whole milliseconds."""
    rounded = float(f"{value:.3g}")
    digits = max(0, 2 - math.floor(math.log10(rounded))) if rounded > 0 else 0
    return f"{value if rounded >= 1000 else rounded:,.{digits}f} ms"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def about(seconds: float) -> str:
    """An estimate for people: whole seconds, and never none."""
    return duration(seconds) if seconds >= 10 else f"{max(1, round(seconds))} s"
