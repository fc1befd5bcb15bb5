"""What the probe finds of a processor's integer sums, on this machine and on emulated ones."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantscope.core.runtime import IntegerSums, integer_sums, machine, pairs_are_neighbours
from tests import emulator
from tests.emulator import processor
from tests.sessions import options, session
from tests.support import Run

SATURATING = IntegerSums(saturates=True, exact=True, neighbours=True)


def sixteen_ones(exact: bool) -> int:
    """The largest activations times the largest weights, sixteen of each."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 16])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 1])],
        [numpy_helper.from_array(np.full((16, 1), 127, np.int8), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    run = session(model, options(exact=exact))
    return int(run.run(None, {"x": np.full((1, 16), 255, np.uint8)})[0].item())


def test_the_probe_tells_what_a_product_of_this_machine_shows() -> None:
    found = integer_sums()
    assert sixteen_ones(exact=True) == 16 * 255 * 127
    assert found.exact
    assert found.saturates == (sixteen_ones(exact=False) != 16 * 255 * 127)
    assert sixteen_ones(exact=False) in (16 * 255 * 127, 8 * (2**15 - 1))


def test_both_kinds_of_processor() -> None:
    with processor(saturating=True):
        assert integer_sums() == SATURATING
        assert pairs_are_neighbours()
    with processor(saturating=False):
        assert integer_sums().exact
        assert not integer_sums().saturates


def test_another_order_of_products_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = emulator.summed

    def shuffled(a: np.ndarray, b: np.ndarray, saturating: bool) -> np.ndarray:
        order = np.argsort(np.arange(a.shape[1]) % 2, kind="stable")
        return plain(a[:, order], b[:, order], saturating)

    monkeypatch.setattr(emulator, "summed", shuffled)
    with processor(saturating=True):
        assert integer_sums() == IntegerSums(saturates=True, exact=True, neighbours=False)
        assert not pairs_are_neighbours()


@pytest.mark.parametrize(("release", "known"), [("1.31.2", True), ("1.32.0", True), ("1.99.0", False)])
def test_elsewhere_the_release_has_to_be_known(
    monkeypatch: pytest.MonkeyPatch, release: str, known: bool
) -> None:
    monkeypatch.setattr(machine.ort, "__version__", release)
    with processor(saturating=False):
        assert pairs_are_neighbours() == known
    with processor(saturating=True):
        assert pairs_are_neighbours()


@pytest.mark.parametrize("saturating", [True, False])
def test_doctor(quantscope: Run, saturating: bool) -> None:
    with processor(saturating=saturating):
        text, found = quantscope("doctor"), quantscope("doctor", "--json")
    assert text.code == found.code == 0
    assert found.json["sums"]["saturates"] == saturating
    assert found.json["cores"] >= 1
    assert found.json["memory"] >= found.json["available"] > 0
    assert {"onnxruntime", "onnx", "numpy"} <= found.json["packages"].keys()
    said = "saturates at 16 bits" if saturating else "exact, too"
    assert said in text.out
    assert "onnxruntime-any-x86" in text.out
    for name in ("instruction_sets", "python", "system", "processor"):
        assert found.json[name], name


def test_doctor_says_where_the_order_is_unknown(quantscope: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.ort, "__version__", "1.99.0")
    with processor(saturating=False):
        assert "not known for this release" in quantscope("doctor").out
