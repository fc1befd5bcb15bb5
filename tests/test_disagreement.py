"""Why tools disagree: a row for each, its numbers those of the range, and values to give to the tools."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from quantscope.core.calibration import calibrate, raw_values
from quantscope.core.calibration.tensor_values import chosen_samples
from quantscope.core.data import open_samples
from quantscope.core.errors import ModelError
from quantscope.core.model import load_model
from quantscope.core.playground import histogram_of_draw
from quantscope.core.progress import Cancelled, Progress
from quantscope.core.project import project as projects
from quantscope.core.quant import INT8, UINT8, QuantSpec, Range
from quantscope.core.recipe import Choice, recipe_from_yaml
from quantscope.core.thresholds import Method, compare_grids, errors_at
from quantscope.core.thresholds.reference import REFERENCES, ReferenceRow, ReferenceThreshold
from quantscope.sample_data import SAMPLES
from quantscope.ui.components.payload import payload
from quantscope.ui.content.disagreement import (
    OWN,
    compute_references,
    settings_text,
    shown,
    usable_range,
    verdicts,
)
from quantscope.ui.content.tensor_view import AUTOMATIC, Mark, RangeView, view_range
from quantscope.ui.figures.grids import GRIDS, grids_figure
from quantscope.ui.server.launch import SCRIPT as APP
from quantscope.ui.session import keys, opening

ASYMMETRIC = QuantSpec(type=UINT8, symmetric=False)
MLP = SAMPLES["digits_mlp"]


def seen_of(values: Any, spec: QuantSpec = ASYMMETRIC) -> RangeView:
    return view_range(histogram_of_draw(np.asarray(values, np.float32)), spec, Choice(), name="x")


@pytest.fixture(scope="module")
def relu() -> np.ndarray[Any, Any]:
    return np.maximum(np.random.default_rng(0).normal(size=20_000), 0).astype(np.float32)


# --- rows ---


def test_every_method_and_tool_has_its_row(relu: np.ndarray[Any, Any]) -> None:
    seen = seen_of(relu)
    rows = verdicts(seen, compute_references(relu))
    assert len({row.id for row in rows}) == len(rows)
    assert [row.id for row in rows if row.tool == OWN] == [method.value for method in AUTOMATIC]
    assert {f"{row.tool}/{row.algorithm}" for row in rows if row.tool != OWN} == set(REFERENCES)
    defaults = shown(rows, everything=False)
    assert len(defaults) == len(AUTOMATIC) + len(REFERENCES)
    assert shown(rows, everything=True) == rows


def test_errors_are_those_of_the_range_in_the_shown_type(relu: np.ndarray[Any, Any]) -> None:
    seen = seen_of(relu)
    rows = verdicts(seen, compute_references(relu))
    for row in rows:
        if row.error is None or row.low is None or row.high is None:
            continue
        low = 0.0 if row.low > 0.0 else max(row.low, 0.0)  # nothing is negative here
        assert row.error == errors_at(seen.histogram, Range(low, row.high), ASYMMETRIC)
    least = min(row.error.mse for row in rows if row.error is not None)
    assert [row.id for row in rows if row.best] == [
        row.id for row in rows if row.error is not None and row.error.mse <= 1.001 * least
    ]
    assert any(row.best and row.id == Method.MSE.value for row in rows)


def test_the_reason_names_the_peculiarity_with_numbers(relu: np.ndarray[Any, Any]) -> None:
    rows = {row.id: row for row in verdicts(seen_of(relu), compute_references(relu))}
    said = rows["nvidia-modelopt/entropy:0"].cause
    zeros = float(np.mean(relu == 0.0))
    assert "least-error range" in said
    assert "in 0 is overwritten with bin 1" in said
    assert "2,048 bins" in said
    assert f"{100 * zeros:.1f} % of these values are zeros" in said
    assert all(row.cause.endswith(".") for row in rows.values())


def test_unusable_results_are_rows_too() -> None:
    rows = verdicts(seen_of(np.zeros(64)), compute_references(np.zeros(64, np.float32)))
    refused = [row for row in rows if row.error is None]
    assert refused
    assert all("no usable range" in row.cause for row in refused)


@pytest.mark.parametrize(
    "result",
    [
        ReferenceThreshold(),
        ReferenceThreshold(low=1.0, high=-1.0),
        ReferenceThreshold(low=-1.0, high=1.0, scale=0.0),
        ReferenceThreshold(low=-np.inf, high=np.inf),
    ],
)
def test_what_cannot_quantize_is_no_range(result: ReferenceThreshold) -> None:
    row = ReferenceRow(key="ncnn/kl", parameters={}, result=result)
    assert usable_range(row, histogram_of_draw(np.float32([-1.0, 1.0]))) is None


def test_ranges_hold_zero() -> None:
    row = ReferenceRow(key="ncnn/kl", parameters={}, result=ReferenceThreshold(low=1.0, high=3.0))
    assert usable_range(row, histogram_of_draw(np.float32([-1.0, 3.0]))) == Range(0.0, 3.0)


def test_settings_are_words() -> None:
    given = {"num_bins": 2048, "percentile": 99.99, "symmetric": True, "strict": False, "torch_hist": True}
    assert settings_text(given) == "num bins 2048, percentile 99.99, symmetric"


def test_marks_from_elsewhere_are_drawn_beside_the_methods() -> None:
    seen = seen_of(np.random.default_rng(0).normal(size=5000), QuantSpec(type=INT8, symmetric=True))
    mark = Mark(id="ncnn/kl:0", label="ncnn kl", low=-3.0, high=3.0, text="here")
    data = payload(seen, seq=0, heading="Values drawn", more=[mark])
    assert [m["id"] for m in data["marks"]] == [*(m.value for m in AUTOMATIC), "ncnn/kl:0"]
    assert (data["marks"][-1]["low"], data["marks"][-1]["high"]) == (-3.0, 3.0)
    assert data["heading"] == "Values drawn"


def test_grids_figure_shows_each_grid() -> None:
    seen = seen_of(np.random.default_rng(0).laplace(size=5000), QuantSpec(type=INT8, symmetric=True))
    figure = grids_figure(compare_grids(seen.histogram, seen.spec, seen.range), -0.5, 0.5)
    assert {name for name, _ in GRIDS.values()} <= {trace.name for trace in figure.data}
    log2 = next(trace for trace in figure.data if trace.name == "LOG2")
    levels = sorted(value for value in set(log2.y) if value > 0)
    assert np.diff(np.log2(levels)) == pytest.approx(1.0)


# --- the values ---


def test_raw_values_are_those_of_the_histogram() -> None:
    model = load_model(MLP.model)
    samples = open_samples(MLP.calibration, model).take(20)
    statistics = calibrate(model, samples, cache=False)
    assert len(statistics.histograms) > 1
    for tensor, histogram in statistics.histograms.items():
        raw = raw_values(model, samples, tensor, histogram)
        assert raw.complete
        assert histogram_of_draw(raw.values) == histogram


def test_some_of_the_values_keep_the_extremes() -> None:
    model = load_model(MLP.model)
    samples = open_samples(MLP.calibration, model).take(40)
    statistics = calibrate(model, samples, cache=False)
    tensor, histogram = next(reversed(statistics.histograms.items()))
    for limit in (histogram.count // 5, histogram.count // 300):
        raw = raw_values(model, samples, tensor, histogram, limit=max(limit, 1))
        assert not raw.complete
        assert raw.values.size < histogram.count
        assert (float(raw.values.min()), float(raw.values.max())) == (histogram.min, histogram.max)
    with pytest.raises(ModelError, match="no float tensor"):
        raw_values(model, samples, "nothing", histogram)


def test_collecting_can_be_cancelled() -> None:
    model = load_model(MLP.model)
    samples = open_samples(MLP.calibration, model).take(5)
    tensor, histogram = next(iter(calibrate(model, samples, cache=False).histograms.items()))

    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        raw_values(model, samples, tensor, histogram, progress=stop)


def test_samples_are_chosen_evenly() -> None:
    h = histogram_of_draw(np.float32([1.0]))
    assert chosen_samples(5, 9, h) == (0, 1, 2, 3, 4)
    assert chosen_samples(100, 4, h) == (0, 25, 50, 75)


# --- in the Inspector ---


@pytest.fixture
def inspector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("QUANTSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("QUANTSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["app.py"])
    st.cache_resource.clear()
    project = opening.open_sample("digits_mlp")
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params["project"] = project.id
    app.run()
    until(app, "recipe")
    app.session_state["go"] = "inspector"
    app.session_state["part"] = "Why do tools disagree?"
    return app.run()


def until(app: AppTest, name: str) -> None:
    end = time.monotonic() + 30
    while name not in app.session_state:
        assert time.monotonic() < end
        time.sleep(0.05)
        app.run()


def test_methods_are_compared_at_once_and_tools_on_demand(inspector: AppTest) -> None:
    table = inspector.dataframe[-1].value
    assert set(table["tool"]) == {OWN}
    inspector.button(key="start_tools").click().run()
    end = time.monotonic() + 60
    while set(inspector.dataframe[-1].value["tool"]) == {OWN}:
        assert time.monotonic() < end, [e.value for e in inspector.error]
        time.sleep(0.1)
        inspector.run()
    assert not inspector.exception
    table = inspector.dataframe[-1].value
    assert {"onnxruntime", "ppq", "ncnn"} <= set(table["tool"])
    assert any("The tools were given all" in entry.value for entry in inspector.caption)


def test_a_range_of_the_table_becomes_the_layers(inspector: AppTest) -> None:
    layer = inspector.session_state["shown_layer"]
    table = inspector.dataframe[-1].value.set_index("algorithm")
    low, high = float(table.loc["KL", "low"]), float(table.loc["KL", "high"])
    mark = Mark(id="kl", label="KL", low=low, high=high, text="")
    tensor = load_model(MLP.model).layer(layer).output
    inspector.session_state["tools_marked"] = keys.MarkedRanges(
        tensor, (mark,)
    )  # as a click on the row's box does
    inspector.run()
    inspector.button(key="disagree_use_0").click().run()
    assert not inspector.exception
    step = projects.read_step(projects.open_project(inspector.session_state["open_project"].id))
    choice = recipe_from_yaml(step.recipe).choice(layer)
    assert choice.method is Method.MANUAL
    assert choice.range == Range(mark.low, mark.high)
    assert "range of KL" in step.label


def test_grids_are_compared_for_a_layer(inspector: AppTest) -> None:
    inspector.session_state["part"] = "Grids"
    inspector.run()
    assert not inspector.exception
    assert [name.removesuffix(" ★") for name in inspector.dataframe[-1].value["Grid"]] == [
        name for name, _ in GRIDS.values()
    ]
