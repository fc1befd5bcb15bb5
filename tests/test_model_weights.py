"""Where a model's weights lie: beside the graph if one protobuf message cannot hold them, else inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.errors import ExportError, ModelError
from quantscope.core.model import Model, load_model
from quantscope.core.model.loading import cleaning
from tests.graphs import HALF, assert_same_function, model, node, randn, random_feeds, session, value


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights count as too many for one protobuf message, by a lowered limit."""
    monkeypatch.setattr(cleaning, "IN_MEMORY", 10_000)


def save_external(proto: onnx.ModelProto, path: Path) -> None:
    """Every weight goes to `m.bin`; `proto` stays as it is."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    onnx.save(copy, path, save_as_external_data=True, location="m.bin", size_threshold=0)


def large_model() -> onnx.ModelProto:
    weights = {"w1": randn(64, 128), "b1": randn(128), "w2": randn(128, 32)}
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "w2"], ["y"]),
    ]
    return model(nodes, [value("x", ["n", 64])], [value("y", ["n", 32])], weights, opset=12)


@pytest.mark.usefixtures("large")
def test_large_model_stays_on_disk(tmp_path: Path) -> None:
    proto = large_model()
    save_external(proto, tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    folder = loaded.external_folder
    assert folder is not None
    assert folder != tmp_path
    assert len(loaded.proto().SerializeToString()) < 10_000
    assert loaded.hash == load_in_memory(proto).hash  # where the weights lie does not matter
    feeds = random_feeds(loaded)
    expected = session(proto).run(None, feeds)[0]
    got = session(loaded.proto(), str(folder)).run(None, feeds)[0]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    with pytest.raises(ModelError, match=r"too many .*save\(\)"):
        loaded.float_bytes()
    files = loaded.save(tmp_path / "out.onnx")
    assert [f.name for f in files] == ["out.onnx", "out.onnx.data"]
    np.testing.assert_array_equal(session(str(files[0])).run(None, feeds)[0], got)
    del loaded  # and with it the temporary files
    assert not folder.exists()


def load_in_memory(proto: onnx.ModelProto) -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cleaning, "IN_MEMORY", 1 << 40)
        return load_model(proto.SerializeToString())


@pytest.mark.usefixtures("large")
def test_large_half_precision_model(tmp_path: Path) -> None:
    weights = {"w": randn(64, 128).astype(np.float16)}
    proto = model(
        [node("MatMul", ["x", "w"], ["y"])], [value("x", [1, 64], HALF)], [value("y", None, HALF)], weights
    )
    save_external(proto, tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    (weight,) = loaded.ir.graph.initializers.values()
    assert weight.const_value is not None
    np.testing.assert_array_equal(weight.const_value.numpy(), weights["w"].astype(np.float32))


def test_external_weights_of_a_small_model_come_inside(tmp_path: Path) -> None:
    proto = large_model()
    save_external(proto, tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    assert loaded.external_folder is None
    assert loaded.size_bytes == sum(f.stat().st_size for f in tmp_path.iterdir())
    before = loaded.source_hash
    assert_same_function(proto, loaded)
    data = bytearray((tmp_path / "m.bin").read_bytes())
    data[5] ^= 1
    (tmp_path / "m.bin").write_bytes(data)
    assert load_model(tmp_path / "m.onnx").source_hash != before


def test_save_writes_one_file(tmp_path: Path) -> None:
    loaded = load_model(large_model().SerializeToString())
    assert loaded.save(tmp_path / "a.onnx") == (tmp_path / "a.onnx",)
    assert load_model(tmp_path / "a.onnx").hash == loaded.hash
    with pytest.raises(ExportError, match=r"cannot be written"):
        loaded.save(tmp_path / "no" / "a.onnx")
