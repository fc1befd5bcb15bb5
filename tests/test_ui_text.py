"""Names from a model are text wherever they are shown; numbers carry their units."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantscope.ui.content import method_words, text

HOSTILE = [
    "**x**",
    "$x$",
    ":red[hot]",
    "<b>x</b>",
    "[a](http://x)",
    "a`b",
    "![i](x)",
    "# h",
    "- a",
    "1. a",
    ":smile:",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_escaped_markdown_has_no_bare_special(name: str) -> None:
    escaped = text.escape(name)
    assert not re.search(r"(?<!\\)[*$<>\[\]`#!]", escaped)
    assert ":s" not in escaped  # no emoji or icon code
    assert re.sub(r"\\(.)", r"\1", escaped).replace("\u200b", "") == name


@given(st.text())
def test_a_code_span_holds_any_name(name: str) -> None:
    span = text.code(name)
    fence = re.match(r"`+", span)
    assert fence is not None
    inner = span[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall(r"`+", inner)
    assert "\n" not in span


@given(st.text(max_size=200), st.integers(5, 60))
def test_short_names_fit(name: str, length: int) -> None:
    assert len(text.short(name, length)) <= max(length, 0)


def test_direction_marks_and_controls_are_taken_out() -> None:
    assert text.plain("a\u202eb\x00c\nd") == "a b c d"


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (text.decibel(12.34), "12.3 dB"),
        (text.decibel(math.inf), "∞ dB"),
        (text.decibel(None), "–"),
        (text.cosine(0.99987), "0.999870"),
        (text.cosine(1.0), "1"),
        (text.cosine(0.5), "0.5000"),
        (text.percent(0.5), "50.00 %"),
        (text.percent(1e-9), "< 0.01 %"),
        (text.percent(0.0), "0 %"),
        (text.size(999), "999 B"),
        (text.size(1_500_000), "1.5 MB"),
        (text.duration(0.25), "250 ms"),
        (text.milliseconds(0.0123), "0.0123 ms"),
        (text.milliseconds(12), "12.0 ms"),
        (text.milliseconds(99.96), "100 ms"),
        (text.milliseconds(1234.5), "1,234 ms"),
        (text.duration(5400), "1 h 30 min"),
        (text.number(-1234.5), "−1,234"),
        (text.number(1e-9), "1.00e−9"),
        (text.number(math.nan), "–"),
        (text.plural(1, "layer"), "1 layer"),
        (text.plural(1200, "layer"), "1,200 layers"),
    ],
)
def test_numbers_for_people(shown: str, wanted: str) -> None:
    assert shown == wanted


@given(st.floats(0.9, 1.0, exclude_max=True))
def test_a_cosine_below_1_never_reads_as_1(value: float) -> None:
    assert value > 1 - 1e-9 or float(text.cosine(value)) < 1.0


def test_sizes_keep_to_their_unit() -> None:
    assert [text.size(count) for count in (0, 999, 999.7, 1000, 57_660, 999_499, 999_999, 2_500_000_000)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1 kB",
        "57.7 kB",
        "999 kB",
        "1 MB",
        "2.5 GB",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("there is none", "There is none."),
        ("net.onnx is empty. Export it again.", "net.onnx is empty. Export it again."),
        ("'net' is empty", "'net' is empty."),
        ("/models/net.onnx is gone", "/models/net.onnx is gone."),
        ("labels, one a sample", "Labels, one a sample."),
    ],
)
def test_an_error_becomes_a_sentence(words: str, said: str) -> None:
    assert text.sentence(words) == said


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("default percentile 99.9, weights mse", "default Percentile 99.9 %, weights MSE"),
        ("kl_v2, weights minmax, biases corrected", "KL v2, weights MinMax, biases corrected"),
        ("default kl instead", "default KL instead"),
        ("kl: stem: octav", "kl: stem: OCTAV"),
        ("smooth (outliers to weights)", "SmoothQuant (outliers to weights)"),
        ("glue (operators without weights in float)", "operators without weights in float"),
        ("other methods for mse", "other methods for mse"),
    ],
)
def test_auto_tunes_steps_have_the_names_of_pages(step: str, words: str) -> None:
    assert method_words.step_words(step) == words
