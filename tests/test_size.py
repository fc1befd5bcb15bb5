"""What the bytes of a file are said to be: they sum to the file, and each part holds what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from quantscope.core.evaluate import size_breakdown
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import network, statistics_of


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_are_the_whole_file_in_float_and_in_int8(name: str, tmp_path: Path) -> None:
    model = network(name)
    quantized = quantize_model(model, resolve(Recipe(), statistics_of(model, feeds(name, 2)), model))
    for proto in (NETWORKS[name][0](), quantized):
        data = proto.SerializeToString()
        (path := tmp_path / "model.onnx").write_bytes(data)
        found = size_breakdown(data)
        assert found.total == len(data)
        assert found == size_breakdown(path) == size_breakdown(proto)
        assert all(count >= 0 for count in found.as_dict().values())
        assert found.graph > len(proto.graph.node)


def test_each_part_holds_what_it_says() -> None:
    n = Net()
    x = n.add("Gemm", ["x", n.random("w", 64, 32), n.random("b", 32)], "h")
    x = n.add("Reshape", [x, n.const("shape", [-1, 4, 8], np.int64)], "r")
    n.add("Mul", [x, n.random("gain", 8)], "y")
    model = n.model({"x": ["N", 64]}, {"y": ["N", 4, 8]})
    before = size_breakdown(model)
    assert 64 * 32 * 4 <= before.weights < 64 * 32 * 4 + 20
    assert 32 * 4 <= before.biases < 32 * 4 + 20
    assert before.scales == 0
    assert 3 * 8 + 8 * 4 <= before.constants < 3 * 8 + 8 * 4 + 40

    model.graph.node[0].name += "n" * 100
    assert size_breakdown(model).names == before.names + 100
    model.graph.node[0].doc_string = "d" * 100
    model.graph.value_info.append(helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, ["N", 32]))
    after = size_breakdown(model)
    assert after.remarks > before.remarks + 100 + len("hN")
    assert (after.weights, after.biases, after.constants) == (before.weights, before.biases, before.constants)
    assert after.total == len(model.SerializeToString())


def test_integers_behind_their_dequantizer_are_weights_and_biases() -> None:
    model = network("residual_cnn")
    statistics = statistics_of(model, feeds("residual_cnn", 2))
    floats, integers = (
        size_breakdown(proto)
        for proto in (model.proto(), quantize_model(model, resolve(Recipe(), statistics, model)))
    )
    assert integers.weights < floats.weights / 3
    assert abs(integers.biases - floats.biases) < 40  # four bytes each in both
    assert integers.scales > 0 == floats.scales


def test_constants_inside_branches_and_nodes_are_counted() -> None:
    table = numpy_helper.from_array(np.arange(50, dtype=np.float32), "table")
    branches = {}
    for name in ("then_branch", "else_branch"):
        node = helper.make_node("Constant", [], [f"{name}.y"], value=table)
        output = helper.make_tensor_value_info(f"{name}.y", onnx.TensorProto.FLOAT, [50])
        branches[name] = helper.make_graph([node], name, [], [output])
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], **branches)],
        "g",
        [helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [50])],
    )
    data = helper.make_model(graph).SerializeToString()
    found = size_breakdown(data)
    assert found.total == len(data)
    assert 2 * 50 * 4 <= found.constants < 2 * 50 * 4 + 30


def test_weights_beside_the_file_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        NETWORKS["residual_cnn"][0](), path, save_as_external_data=True, size_threshold=0, location="data"
    )
    found = size_breakdown(path)
    assert found.total == path.stat().st_size + (tmp_path / "data").stat().st_size
    assert found.weights > size_breakdown(network("residual_cnn").proto()).weights - 100
