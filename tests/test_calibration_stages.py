"""Models in stages: every tensor has exactly the elements that one session gives, wherever it is cut."""

import gc
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantscope.core.calibration import calibrate, histogram_of, stages
from quantscope.core.calibration.stages import staged_model, worth_staging
from quantscope.core.data.sources import random_samples
from quantscope.core.errors import QuantScopeError
from quantscope.core.model import Model, float_session, load_model
from quantscope.core.progress import Cancelled, Progress
from quantscope.core.targets import activation_tensors

RNG = np.random.default_rng(0)


def residual(width: int, blocks: int = 3) -> Model:
    """Convolutions with a residual path, so that a cut has two values on its border."""
    nodes, weights = [], []

    def conv(x: str, y: str, inner: int) -> None:
        kernel = RNG.standard_normal((width, inner, 3, 3)) / np.sqrt(9 * inner)
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w_{y}"))
        nodes.append(
            helper.make_node("Conv", [x, f"w_{y}"], [y], name=f"n_{y}", kernel_shape=[3, 3], pads=[1] * 4)
        )

    conv("x", "h0", 3)
    for number in range(blocks):
        conv(f"h{number}", f"a{number}", width)
        nodes.append(helper.make_node("Relu", [f"a{number}"], [f"r{number}"], name=f"relu{number}"))
        nodes.append(
            helper.make_node("Add", [f"r{number}", f"h{number}"], [f"h{number + 1}"], name=f"add{number}")
        )
    nodes.append(helper.make_node("GlobalAveragePool", [f"h{blocks}"], ["y"], name="pool"))
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width, 1, 1])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return load_model(made.SerializeToString())


def agree(model: Model, tensors: list[str]) -> int:
    """The number of stages, after comparing all tensors of two samples with those of one session."""
    plain, stages = float_session(model, tensors), staged_model(model, tensors)
    assert stages is not None
    for sample in random_samples(model, 2):
        expected = dict(plain.values(sample))
        found = {name: histogram_of(values) for name, values in stages.values(sample)}
        assert found == {name: histogram_of(values) for name, values in expected.items()}
    count = len(stages.stages)
    stages.close()
    return count


def computed(model: Model) -> list[str]:
    given = {info.name for info in model.inputs}
    return [name for name in model.tensors if name not in given]


@pytest.mark.parametrize("width", [16, 24, 32, 64, 5])
@pytest.mark.parametrize("limit", [1, 50_000, 1 << 30])
def test_channel_counts_and_cuts(monkeypatch: pytest.MonkeyPatch, width: int, limit: int) -> None:
    monkeypatch.setattr(stages, "STAGE_BYTES", limit)
    model = residual(width)
    for tensors in (computed(model), [t for t in activation_tensors(model) if t != "x"], ["h1"]):
        count = agree(model, tensors)
        assert count == 1 if limit == 1 << 30 else count >= 1
    if limit == 1:
        assert agree(model, computed(model)) > 5


@pytest.mark.slow
def test_reference_models(monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    """Transformers, recurrent networks, control flow, several inputs: cut wherever they can be."""
    monkeypatch.setattr(stages, "STAGE_BYTES", 1)
    opened = 0
    for path in sorted((shared / "models").glob("*.onnx")):
        if path.stem.startswith("candy"):
            continue  # 720 pixels: seconds
        try:
            model = load_model(path)
        except QuantScopeError:
            continue
        agree(model, computed(model))
        opened += 1
    assert opened >= 9


def test_statistics_do_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = residual(32)
    samples = random_samples(model, 5)
    expected = calibrate(model, samples, threads=1, cache=False)
    monkeypatch.setattr("quantscope.core.calibration.run.worth_staging", lambda *_: True)
    monkeypatch.setattr(stages, "STAGE_BYTES", 1)
    assert calibrate(model, samples, threads=3, cache=False) == expected
    monkeypatch.setattr("quantscope.core.calibration.run.staged_model", lambda *_: None)
    assert calibrate(model, samples, cache=False) == expected


def test_graphs_that_cannot_be_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor that ONNX Runtime folds into a constant; a disk that is full."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], name="shape"),
        helper.make_node("Cast", ["shape"], ["constant"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "x"], ["y"], name="square"),
    ]
    graph = helper.make_graph(
        nodes,
        "folded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
            for n, s in (("y", [1, 3]), ("constant", [2]))
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = load_model(made.SerializeToString())
    if "constant" in model.tensors:
        assert staged_model(model, ["constant", "y"]) is None

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    model = residual(5, 1)
    monkeypatch.setattr(stages.onnx, "load", full)
    assert staged_model(model, ["y"]) is None


def test_nothing_is_left_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = residual(32)
    monkeypatch.setattr("quantscope.core.calibration.run.worth_staging", lambda *_: True)
    calibrate(model, random_samples(model, 2), cache=False)

    def cancel(progress: Progress) -> None:
        if progress.done:
            raise Cancelled

    with pytest.raises(Cancelled):
        calibrate(model, random_samples(model, 2), cache=False, progress=cancel)
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_it_must_pay() -> None:
    model = residual(32)  # 13 tensors of 4,608 elements
    tensors = computed(model)
    assert not worth_staging(model, tensors, 100, 1)
    assert worth_staging(model, tensors, 100_000, 1)
    assert not worth_staging(model, [], 1 << 40, 1)
