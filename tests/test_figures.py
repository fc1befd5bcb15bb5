"""Figures show the data they were given, with units, and names as text; the browser gets plain numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantscope.core.calibration import Accumulator, Histogram
from quantscope.core.model import Layer
from quantscope.core.quant import INT8, UINT8, QuantSpec, Range, encoding_from_range
from quantscope.core.recipe import Choice
from quantscope.core.recipe.choice import DEFAULT
from quantscope.core.thresholds import AUTOMATIC, Method, errors_at, search
from quantscope.core.tuning import DefaultTrial
from quantscope.ui.components.payload import payload
from quantscope.ui.content.rows import Row
from quantscope.ui.content.tensor_view import TensorView, Weights, levels, mode_of
from quantscope.ui.figures import graph
from quantscope.ui.figures.errors import error_figure
from quantscope.ui.figures.overlay import overlay_figure
from quantscope.ui.figures.trials import trials_figure
from quantscope.ui.figures.weights import weights_figure

HOSTILE = "<img src=x onerror=alert(1)>"
ASYMMETRIC = QuantSpec(type=UINT8, symmetric=False)
SYMMETRIC = QuantSpec(type=INT8, symmetric=True)


def row(name: str, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "name": name,
        "kind": "compute",
        "op": "Conv + Relu",
        "shape": "N×3×8×8",
        "strategy": "MinMax",
        "own": False,
        "precision": "int8",
        "weights": "per_channel",
        "low": 0.0,
        "high": 6.0,
        "clipped": 0.001,
        "tensor_sqnr": 40.0,
        "local_sqnr": 35.0,
        "cumulative_sqnr": 30.0,
        "cumulative_cosine": 0.999,
        "shared": "",
        "flag": "",
    }
    return Row(**{**fields, **changes})


def histogram(values: Any) -> Histogram:
    accumulator = Accumulator()
    accumulator.add(np.asarray(values, np.float32), 0)
    return accumulator.histogram()


def view(values: Any, spec: QuantSpec = ASYMMETRIC, range_: Range | None = None) -> TensorView:
    h = histogram(values)
    searches = {method: search(method, h, spec) for method in AUTOMATIC}
    chosen = range_ or searches[Method.MINMAX].range
    return TensorView(
        layer=Layer(
            name="conv", kind="compute", op="Conv", ops=("Conv",), nodes=("conv",), inputs=("x",), output="y"
        ),
        tensor="y",
        owner="conv",
        shared=False,
        quantized=True,
        histogram=h,
        choice=Choice(method=Method.MINMAX).over(DEFAULT),
        spec=spec,
        mode=mode_of(h, spec),
        asked=chosen,
        range=chosen,
        encoding=encoding_from_range(chosen, spec),
        error=errors_at(h, chosen, spec),
        searches=searches,
        errors={m: errors_at(h, s.range, spec) for m, s in searches.items()},
        reason="",
        remarks=(),
    )


# --- error of every layer ---


def test_error_figure_shows_every_layer_with_units() -> None:
    rows = [
        row("a"),
        row("b", flag="odd", cumulative_sqnr=12.5),
        row("c", cumulative_sqnr=None, local_sqnr=None),
    ]
    figure = error_figure(rows)
    alone, cumulative, flagged = figure.data
    assert list(alone.y) == [35.0, 35.0, None]
    assert list(cumulative.y) == [30.0, 12.5, None]
    assert (list(flagged.x), list(flagged.y)) == ([2], [12.5])
    assert "dB" in figure.layout.yaxis.title.text
    assert figure.layout.xaxis.title.text
    assert "log" in cumulative.hovertemplate  # the formula


def test_names_from_a_model_are_text_in_a_figure() -> None:
    text = error_figure([row(HOSTILE, flag=HOSTILE)]).to_json()
    assert "<img" not in text.replace("\\u003c", "<")
    assert "&lt;img" in text.replace("\\u0026", "&")


def test_a_layer_without_error_stays_on_the_chart() -> None:
    figure = error_figure([row("a", cumulative_sqnr=math.inf, local_sqnr=math.inf)])
    heights = [y for trace in figure.data for y in trace.y]
    assert heights
    assert all(math.isfinite(y) for y in heights)


# --- before and after ---


@pytest.mark.parametrize("spec", [ASYMMETRIC, SYMMETRIC])
def test_levels_keep_every_value(spec: QuantSpec) -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 20_000)
    values[::7] = 0.0
    shown = levels(view(values, spec, Range(-1.0, 1.5)))
    assert shown.count.sum() == pytest.approx(values.size, rel=1e-9)
    quantized = np.clip(
        np.rint(values.astype(np.float32) / shown.step), *(-127, 127) if spec.symmetric else (-102, 153)
    )
    exact = np.bincount((quantized - quantized.min()).astype(int))
    assert shown.count.max() == pytest.approx(exact.max(), rel=0.02)  # zeros, exact
    assert shown.count[-1] == pytest.approx(exact[-1], rel=0.05)  # the pile of what was clipped


def test_overlay_says_what_its_axes_are() -> None:
    figure = overlay_figure(levels(view(np.random.default_rng(1).normal(size=5000))))
    assert {trace.name for trace in figure.data} == {"float", "quantized"}
    assert "value" in figure.layout.xaxis.title.text
    assert "count" in figure.layout.yaxis.title.text


def test_overlay_of_16_bits_stays_small() -> None:
    spec = QuantSpec(type=type(UINT8)(16, False), symmetric=False)
    shown = levels(view(np.random.default_rng(1).normal(size=5000), spec))
    assert shown.value.size <= 1100
    assert shown.count.sum() == pytest.approx(5000)


# --- weights ---


def test_weights_figure_shows_ranges_and_limits() -> None:
    low, high = np.array([-1.0, -0.1]), np.array([0.5, 0.2])
    weights = Weights(
        name="w", shape=(2, 3), low=low, high=high, limit=np.array([1.0, 0.2]),
        steps=np.array([190.0, 190.0]), per_channel=True, spread=5.0,
    )  # fmt: skip
    figure = weights_figure(weights)
    bars, upper, lower = figure.data
    assert list(bars.base) == [-1.0, -0.1]
    assert list(bars.base + bars.y) == pytest.approx([0.5, 0.2])
    assert list(upper.y) == [1.0, 0.2]
    assert list(lower.y) == [-1.0, -0.2]
    assert "channel" in figure.layout.xaxis.title.text


# --- trials ---


def test_trials_figure_marks_the_best() -> None:
    trials = [
        DefaultTrial(choice=replace(DEFAULT, method=method), label=method, sqnr_db=sqnr, cosine=0.9)
        for method, sqnr in ((Method.MSE, 20.0), (Method.KL_V2, -math.inf), (Method.MINMAX, 30.0))
    ]
    (bars,) = trials_figure(trials, trials[0]).data
    axis = trials_figure(trials, trials[0]).layout.yaxis
    assert [name.split(",")[0] for name in axis.ticktext] == ["KL v2", "MSE", "MinMax"]
    assert list(bars.y) == list(axis.tickvals)
    assert list(bars.x) == [0.0, 20.0, 30.0]
    assert bars.marker.color[0] == bars.marker.color[2] != bars.marker.color[1]


def test_trials_of_one_name_have_a_bar_each() -> None:
    trials = [DefaultTrial(choice=DEFAULT, label="same", sqnr_db=38.0, cosine=0.9) for _ in range(2)]
    (bars,) = trials_figure(trials, trials[0]).data
    assert len(set(bars.y)) == 2
    assert list(bars.x) == [38.0, 38.0]
    assert len(set(bars.marker.color)) == 2


# --- graph ---


def test_graph_data_is_json_and_keeps_names() -> None:
    rows = [row(HOSTILE, flag="x"), row("b", cumulative_sqnr=None, precision="float"), row("c")]
    data: Any = graph.graph_data(rows, [(HOSTILE, "b"), ("b", "c"), ("b", "gone")])
    json.dumps(data, allow_nan=False)
    assert [layer["name"] for layer in data["layers"]] == [HOSTILE, "b", "c"]
    assert data["links"] == [[0, 1], [1, 2]]
    assert data["layers"][1]["figure"] == "float"
    assert data["layers"][1]["colour"] == graph.UNKNOWN
    assert "flag" in data["layers"][0]
    assert "flag" not in data["layers"][1]
    assert data["groups"] == data["open"] == []
    assert data["in"] == [-1, -1, -1]


def test_a_group_of_the_graph_says_what_is_in_it() -> None:
    figures = [12.0, None, math.inf, *(50.0 for _ in range(87))]
    rows = [row(f"part.{i // 30}.layer{i}", cumulative_sqnr=figure) for i, figure in enumerate(figures)]
    rows[1] = row("part.0.layer1", cumulative_sqnr=None, flag="odd")
    data: Any = graph.graph_data(rows, [], worst=["part.2.layer80", "unknown"])
    json.dumps(data, allow_nan=False)
    assert [group["name"] for group in data["groups"]] == ["part.0", "part.1", "part.2"]
    assert [group["count"] for group in data["groups"]] == [30, 30, 30]
    assert [group["figure"] for group in data["groups"]] == ["12.0 dB", "50.0 dB", "50.0 dB"]
    assert [group["flagged"] for group in data["groups"]] == [1, 0, 0]
    assert data["groups"][0]["colour"] == graph.colour(12.0)
    assert data["worst"][:2] == [80, 0]  # what was named, then the lowest figure
    assert 2 not in data["worst"]  # a layer without error is none of the worst


def test_colour_runs_from_red_to_green() -> None:
    assert graph.colour(-math.inf) == graph.colour(5.0) == graph.SQNR_SCALE[0]
    assert graph.colour(math.inf) == graph.colour(45.0) == graph.SQNR_SCALE[-1]
    greens = [
        int(graph.colour(float(db))[3:5], 16) - int(graph.colour(float(db))[1:3], 16) for db in range(5, 46)
    ]
    assert greens == sorted(greens)


# --- what the browser draws ---


@pytest.mark.parametrize("spec", [ASYMMETRIC, SYMMETRIC])
@pytest.mark.parametrize(
    "kind", ["normal", "relu", "negative", "zeros", "constant", "one", "tiny", "outlier"]
)
def test_payload_is_plain_numbers_for_any_tensor(spec: QuantSpec, kind: str) -> None:
    generator = np.random.default_rng(2)
    normal = generator.normal(0.2, 1.0, 4000)
    values = {
        "normal": normal,
        "relu": np.maximum(normal, 0.0),
        "negative": -np.abs(normal),
        "zeros": np.zeros(100),
        "constant": np.full(100, 3.0),
        "one": np.array([-2.5]),
        "tiny": normal * 1e-30,
        "outlier": np.append(normal, 1e6),
    }[kind]
    seen = view(values, spec)
    data = payload(seen, seq=4, token="t")
    json.dumps(data, allow_nan=False)
    assert data["domain"][0] <= seen.range.low <= seen.range.high <= data["domain"][1]
    assert data["domain"][0] < data["domain"][1]
    assert sum(data["histogram"]["counts"]) + data["zeros"] == data["total"] == values.size
    assert {mark["id"] for mark in data["marks"]} == {method.value for method in AUTOMATIC}


def test_one_line_for_what_is_never_negative() -> None:
    relu = np.maximum(np.random.default_rng(4).normal(size=1000), 0.0)
    assert payload(view(relu), seq=0)["mode"] == "nonneg"
    assert payload(view(relu - 1.0), seq=0)["mode"] == "asymmetric"
    assert payload(view(relu - 1.0, SYMMETRIC), seq=0)["mode"] == "symmetric"
