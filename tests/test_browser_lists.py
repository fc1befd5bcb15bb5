"""What Python and the browser's scripts and style sheets must agree on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from quantscope.core.calibration import histogram_of
from quantscope.core.quant import INT8, QuantSpec
from quantscope.core.recipe import Choice
from quantscope.core.thresholds import Method
from quantscope.ui.components import Tone
from quantscope.ui.components.payload import FORMULAS, NAMES, payload
from quantscope.ui.content.tensor_figures import Figures
from quantscope.ui.content.tensor_view import ClipLines, view_range

# Drawn in the colour of plain text: what they keep follows from the values without a search.
WITHOUT_COLOUR = {Method.MINMAX, Method.PERCENTILE, Method.MOVING_AVERAGE, Method.ISOTONE, Method.MANUAL}
ADDED = {"follow", "held"}  # by `threshold_chart`


@pytest.fixture
def chart(repo_root: Path) -> Path:
    return repo_root / "ui/components/threshold"


def text_of(folder: Path, ending: str) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob(f"*{ending}")))


def test_every_searching_method_has_a_colour(chart: Path) -> None:
    coloured = re.findall(r"\.mark\.(\w+) \{ --hue", text_of(chart, ".css"))
    assert len(coloured) == len(set(coloured))
    assert set(coloured) == {method.value for method in Method} - {method.value for method in WITHOUT_COLOUR}


def test_every_metric_has_a_name_a_formula_and_a_colour(chart: Path) -> None:
    script, style = text_of(chart, ".js"), text_of(chart, ".css")
    (block,) = re.findall(r"const METRICS = \{(.*?)\n\};", script, re.DOTALL)
    metrics = re.findall(r"^  (\w+): \{", block, re.MULTILINE)
    assert len(metrics) > 3
    for name in metrics:
        assert name in NAMES
        assert name in Figures.__dataclass_fields__
        assert re.search(rf"(^|\s)\.{name} \{{ --hue", style)
    assert NAMES.keys() == FORMULAS.keys()


def test_the_chart_reads_what_it_is_given(chart: Path) -> None:
    values = np.random.default_rng(0).normal(size=1000)
    spec = QuantSpec(type=INT8, symmetric=True)
    seen = view_range(histogram_of(values), spec, Choice(method=Method.MSE, percentile=99.99), name="x")
    given = payload(seen, seq=0).keys() | ADDED
    read = set(re.findall(r"(?<![\w.])(?:S\.data|d)\.(\w+)", text_of(chart, ".js")))
    assert len(read) > 15
    assert read - given == set()


def test_the_chart_knows_the_words_for_clip_lines(chart: Path) -> None:
    compared = set(re.findall(r'mode [!=]== "(\w+)"', text_of(chart, ".js")))
    assert compared
    assert compared <= set(get_args(ClipLines))


def test_every_tone_of_a_card_has_a_style(repo_root: Path) -> None:
    style = text_of(repo_root / "ui/components/cards", ".css")
    for tone in filter(None, get_args(Tone)):
        assert re.search(rf"^\.{tone} \{{", style, re.MULTILINE)
