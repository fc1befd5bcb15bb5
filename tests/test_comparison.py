"""Versions side by side as data: figures with their changes, tensors in pairs, the tree of steps, charts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantscope.core.evaluate import LayerEncodings
from quantscope.core.project import Figures, marks
from quantscope.core.quant import INT8, UINT8, Encoding
from quantscope.ui.content.comparison import Column, figure_rows, verdict
from quantscope.ui.content.scale_changes import scale_changes
from quantscope.ui.content.step_tree import moment, step_tree
from quantscope.ui.content.tensor_pairs import tensor_pairs
from quantscope.ui.figures.versions import StepPoint, VersionLine, history_figure, layers_figure
from tests.quantizing import network

BEFORE = Figures(
    samples=1000,
    evaluation=True,
    sqnr_db=6.3,
    cosine=0.88,
    agreement=0.902,
    top1=0.9,
    float_top1=0.987,
    rows=1000,
    size_bytes=95_000,
    float_bytes=151_000,
    latency_ms=0.034,
    float_latency_ms=0.034,
)
AFTER = replace(
    BEFORE, sqnr_db=36.4, cosine=0.999, agreement=0.998, top1=0.986, size_bytes=70_000, latency_ms=0.05
)


# --- figures ---


def cells(*columns: Column, against: int = 0) -> dict[str, list[tuple[str, str, str, bool]]]:
    return {
        row.name: [(c.value, c.change, c.tone, c.best) for c in row.cells]
        for row in figure_rows(columns, against)
    }


def test_figures_with_changes_tones_and_the_best() -> None:
    found = cells(Column(label="a", figures=BEFORE), Column(label="b", figures=AFTER))
    assert found["Top-1"] == [("90.0 %", "", "", False), ("98.6 %", "+8.6 pp", "good", True)]
    assert found["Output SQNR"][1] == ("36.4 dB", "+30.1 dB", "good", True)
    assert found["File size"] == [("95 kB", "", "", False), ("70 kB", "−26 %", "good", True)]
    assert found["Time of one run"] == [("0.0340 ms", "", "", False), ("0.0500 ms", "", "", False)]
    assert found["Time, share of float's"] == [
        ("100 %", "", "", True),
        ("147 %", "1.5× slower", "bad", False),
    ]
    assert "Mean IoU" not in found


def test_the_float_model_has_no_errors_of_its_own_and_is_never_the_best() -> None:
    floating = Column(label="float", figures=replace(BEFORE, top1=0.987, sqnr_db=None), floating=True)
    found = cells(floating, Column(label="a", figures=BEFORE), against=1)
    assert found["Output SQNR"][0] == ("", "", "", False)
    assert found["Top-1"][0] == ("98.7 %", "", "", False)


def test_what_is_not_there_is_said() -> None:
    found = cells(
        Column(label="a", figures=None, waiting=True),
        Column(label="b", figures=None),
        Column(label="c", figures=AFTER),
    )
    assert [cell[0] for cell in found["Top-1"]] == ["…", "–", "98.6 %"]
    assert found["Top-1"][2][1] == ""


def test_infinite_errors_are_compared() -> None:
    exact = replace(AFTER, sqnr_db=math.inf, cosine=1.0)
    found = cells(Column(label="a", figures=AFTER), Column(label="b", figures=exact))
    assert found["Output SQNR"][1] == ("∞ dB", "+∞ dB", "good", True)
    both = cells(Column(label="a", figures=exact), Column(label="b", figures=exact))
    assert both["Output SQNR"][1] == ("∞ dB", "", "", False)


def test_a_verdict_turns_round_with_the_versions() -> None:
    there, back = verdict(AFTER, BEFORE), verdict(BEFORE, AFTER)
    assert there.better[0] == "top-1 (+8.6 pp, 86 of 1,000 answers)"
    assert [w.split(" (")[0] for w in there.better] == [w.split(" (")[0] for w in back.worse]
    assert [w.split(" (")[0] for w in there.worse] == ["time, share of float's"]
    assert verdict(AFTER, AFTER).better == verdict(AFTER, AFTER).worse == ()


# --- tensors ---


def encoding(scale: float, zero: int = 0) -> Encoding:
    return Encoding(np.float32(scale).reshape(()), np.int32(zero).reshape(()), UINT8, None, 0, 255)


def test_tensors_in_pairs() -> None:
    net = network("residual_cnn")
    names = [layer.name for layer in net.layers]
    per_channel = Encoding(np.array([0.1, 0.3, 0.2], np.float32), np.zeros(3, np.int32), INT8, 0, -127, 127)
    nothing = LayerEncodings(matched=True, type="", output=None, weight=None)
    ours = dict.fromkeys(names, nothing)
    theirs = dict(ours)
    conv = next(layer.name for layer in net.layers if layer.op == "Conv")
    ours[conv] = LayerEncodings(matched=True, type="uint8", output=encoding(0.5), weight=None)
    theirs[conv] = LayerEncodings(matched=True, type="uint8", output=encoding(0.25, 10), weight=per_channel)
    output, weights = tensor_pairs(net, ours, theirs)
    assert (output.layer, output.what, output.differs) == (conv, "output", True)
    assert (output.ours.low, output.ours.high) == (0.0, 127.5)
    assert (output.theirs.low, output.theirs.high) == (-2.5, 61.25)
    assert output.ratio == 0.5
    assert (weights.ours.type, weights.theirs.type) == ("float", "int8")
    assert weights.theirs.scale == pytest.approx(0.3)
    assert weights.theirs.scales == 3
    assert weights.ratio is None
    same = tensor_pairs(net, theirs, theirs)
    assert not any(pair.differs for pair in same)


# --- the tree ---


@st.composite
def trees(draw: st.DrawFn) -> tuple[dict[int, int], int, set[int]]:
    count = draw(st.integers(1, 25))
    parents = {1: 0}
    for number in range(2, count + 1):
        parents[number] = draw(st.integers(1, number - 1))
    shown = draw(st.integers(1, count))
    needed = {shown, *marks.ancestors(parents, shown)}
    hidden = draw(st.sets(st.sampled_from(sorted(parents)))) - needed
    return parents, shown, set(parents) - hidden


@given(trees())
def test_steps_in_lanes_never_lie_on_each_other(tree: tuple[dict[int, int], int, set[int]]) -> None:
    parents, shown, listed = tree
    rows = step_tree(parents, shown, listed)
    assert [row.number for row in rows] == sorted(listed, reverse=True)
    by_number = {row.number: row for row in rows}
    leads = {shown, *marks.ancestors(parents, shown)}
    assert all(by_number[number].lane == 0 for number in leads)
    for row in rows:
        above = [n for n in marks.ancestors(parents, row.number) if n in listed]
        assert row.parent == (above[0] if above else 0)
        for other in rows:  # the line from a step down to its parent meets no other step of its lane
            if other.lane == row.lane and row.parent < other.number < row.number:
                raise AssertionError(f"{other.number} lies on the line from {row.number} to {row.parent}")


def test_a_branch_stands_beside_the_way_to_the_shown_step() -> None:
    rows = step_tree({1: 0, 2: 1, 3: 2, 4: 2, 5: 4}, 5, {1, 2, 3, 4, 5})
    assert [(row.number, row.lane, row.parent) for row in rows] == [
        (5, 0, 4),
        (4, 0, 2),
        (3, 1, 2),
        (2, 0, 1),
        (1, 0, 0),
    ]


def test_times_that_cannot_be_read_are_left_out() -> None:
    assert moment("") == moment("yesterday") == ""
    assert moment("2026-12-01T10:00:00+00:00")


# --- charts ---


def test_layers_of_versions_are_lines_with_names_as_text() -> None:
    lines = [VersionLine(label="<b>a</b>", sqnr=[10.0, None, math.inf], against=True)]
    figure = layers_figure(["x", "<img>", "z"], lines)
    assert list(figure.data[0].y) == [10.0, None, 16.0]  # at the end of the chart, with its own figure
    assert [words for _, words in figure.data[0].customdata] == ["10.0 dB", "–", "∞ dB"]
    assert figure.data[1].name == "no error"
    assert list(figure.data[1].x) == [3]
    assert "&lt;b&gt;" in figure.data[0].name
    assert "&lt;img&gt;" in figure.data[0].customdata[1]
    assert figure.layout.yaxis.title.text == "cumulative SQNR, dB"


def test_a_history_joins_steps_with_those_they_were_made_from() -> None:
    points = [
        StepPoint(number=1, value=5.0, parent=0, label="first", leads=True),
        StepPoint(number=2, value=9.0, parent=1, label="side", leads=False),
        StepPoint(number=3, value=7.0, parent=1, label="shown", leads=True, shown=True, pinned=True),
    ]
    figure = history_figure(points, unit="dB")
    aside, way, steps = figure.data
    assert list(aside.x) == [1, 2, None]
    assert list(way.x) == [1, 3, None]
    assert list(steps.x) == [1, 2, 3]
    assert [entry[0] for entry in steps.customdata] == [1, 2, 3]
    assert len(figure.layout.shapes) == 1  # the baseline


def test_scales_of_two_files_differ_in_words() -> None:
    net = network("residual_cnn")
    names = [layer.name for layer in net.layers]
    ours = {
        name: LayerEncodings(matched=True, type="uint8", output=encoding(0.5), weight=None) for name in names
    }
    pairs = tensor_pairs(net, ours, ours)
    assert scale_changes(pairs) == []
    theirs = {
        name: LayerEncodings(matched=True, type="uint8", output=encoding(0.25, 128), weight=None)
        for name in names
    }
    theirs[names[1]] = LayerEncodings(matched=True, type="", output=None, weight=None)
    count = len(names)
    assert scale_changes(tensor_pairs(net, ours, theirs)) == [
        ("Types of outputs", f"{count} uint8 → {count - 1} uint8, 1 float"),
        ("Zero points of outputs", f"{count} from zero → {count - 1} around zero"),
        (
            "Ranges of outputs",
            f"{count - 1} of {count} ranges differ: ×0.5 to ×0.5, in the middle ×0.5 as wide",
        ),
    ]
