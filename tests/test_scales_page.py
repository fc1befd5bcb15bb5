"""Power-of-two scales in the app: what the Inspector shows is what the exported file holds."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from streamlit.testing.v1 import AppTest

from quantscope.core.project import project as projects
from quantscope.core.quant import Range, ScaleRule
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.ui.components.payload import payload
from quantscope.ui.content.tensor_view import RULES, TensorView, levels, view_tensor
from quantscope.ui.runs.measurement_work import quantized_bytes
from quantscope.ui.session import opening
from quantscope.ui.session.workspace import Workspace, prepare
from tests.pages import go, healthy, opened, recipe, shown, start, until
from tests.pages import home as home  # a fixture

RULED = [rule for rule in ScaleRule if rule is not ScaleRule.FREE]
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scales_of(data: bytes) -> set[float]:
    """Every scale of a quantized model."""
    graph = onnx.load_from_string(data).graph
    held = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    named = {node.input[1] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    return {float(scale) for name in named for scale in np.ravel(held[name])}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTSCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("QUANTSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return prepare(opening.open_sample("digits_mobilenet"), lambda _: None)


def seen_of(space: Workspace, given: Recipe, layer: str) -> TensorView:
    encodings = resolve(given, space.statistics, space.model)
    seen = view_tensor(space.model, space.statistics, given, encodings, space.model.layer(layer))
    assert seen is not None
    return seen


@pytest.mark.parametrize("rule", RULED)
def test_what_is_shown_of_every_layer_is_what_the_file_holds(space: Workspace, rule: ScaleRule) -> None:
    given = Recipe().with_default(scale_rule=rule, method=Method.PERCENTILE, percentile=99.9)
    encodings = resolve(given, space.statistics, space.model)
    scales = scales_of(quantized_bytes(space.model, encodings))
    assert all(np.frexp(scale)[0] == 0.5 for scale in scales)
    shown = 0
    for layer in space.model.layers:
        seen = view_tensor(space.model, space.statistics, given, encodings, layer)
        if seen is None or not seen.quantized:
            continue
        shown += 1
        scale, zero = float(seen.encoding.scale), int(seen.encoding.zero_point)
        assert scale in scales
        data = payload(seen, seq=0)
        assert data["kept"]["high"] == (seen.encoding.qmax - zero) * scale
        power = str(int(np.log2(scale))).translate(RAISED)
        assert data["encoding"] == f"scale 2{power}, zero point {zero}, {seen.spec.type}"
        assert levels(seen).value[-1] <= data["kept"]["high"] * (1 + 1e-6)
    assert shown > 10


@pytest.mark.parametrize("rule", RULED)
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_dragged_threshold_stays_where_it_is_and_shows_what_it_becomes(
    space: Workspace, rule: ScaleRule, symmetric: bool
) -> None:
    layer = next(e.name for e in space.model.layers if e.weight is not None)
    base = Recipe().with_layer(layer, scale_rule=rule, symmetric=symmetric)
    whole = seen_of(space, base, layer).histogram
    high = 0.61 * whole.max
    dragged = Range(-high if symmetric and whole.min < 0.0 else min(0.0, whole.min), high)
    seen = seen_of(space, base.with_layer(layer, method=Method.MANUAL, range=dragged), layer)
    data = payload(seen, seq=0)
    assert data["range"]["high"] == high
    assert data["kept"]["high"] != high
    if rule is ScaleRule.POWER_OF_TWO_UP:
        assert data["kept"]["high"] >= high
    again = seen_of(space, base.with_layer(layer, method=Method.MANUAL, range=seen.asked), layer)
    assert again.range == seen.range
    free = payload(seen_of(space, Recipe(), layer), seq=0)
    assert free["kept"] == free["range"]


@pytest.fixture
def inspector() -> AppTest:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    return go(app, "inspector")


def test_the_control_is_an_edit_that_is_exported_as_previewed(inspector: AppTest) -> None:
    app = inspector
    shown(app, "selectbox", "scales").select(RULES[ScaleRule.POWER_OF_TWO_NEAREST]).run()
    healthy(app)
    name = app.session_state["shown_layer"]
    assert recipe(app).layers[name].scale_rule is ScaleRule.POWER_OF_TWO_NEAREST
    go(app, "export")
    until(app, lambda a: any("outputs are identical, bit for bit" in m.value for m in a.markdown))
    healthy(app)
    app.button(key="undo").click().run()
    assert name not in recipe(app).layers


def test_scales_of_the_whole_network_are_its_default(inspector: AppTest) -> None:
    app = go(inspector, "layers")
    label = RULES[ScaleRule.POWER_OF_TWO_UP]
    app.selectbox(key="bulk_scales").select(label).run()
    app.button(key="bulk_set").click().run()
    healthy(app)
    assert recipe(app).default.scale_rule is ScaleRule.POWER_OF_TWO_UP
    assert not recipe(app).layers
    step = projects.read_step(projects.open_project(opened(app).id))
    assert step.label == f"scales {label} for the whole network"
    app.text_input(key="filter_name").set_value("zz no such layer").run()
    assert not [button for button in app.button if button.key == "bulk_set"]  # there is nothing to set it for
    assert any("zz no such layer" in said.value for said in app.markdown)
    app.button(key="filter_clear").click().run()
    assert app.button(key="bulk_set").label == "Set for all 4 layers"
