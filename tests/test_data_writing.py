"""Samples written into a file are the same samples when it is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from quantscope.core.data import bytes_of, open_samples, write_npz
from quantscope.core.errors import DataError
from quantscope.core.model import Model, load_model
from quantscope.core.progress import Cancelled, Progress
from tests.evaluating import list_samples
from tests.graphs import randn


def network(*inputs: tuple[str, int, list[object]]) -> Model:
    """A model that adds up what it is given."""
    nodes = [helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name, _, _ in inputs]
    nodes += [
        helper.make_node("ReduceSum", [f"{name}_f"], [f"{name}_s"], keepdims=0) for name, _, _ in inputs
    ]
    nodes.append(helper.make_node("Sum", [f"{name}_s" for name, _, _ in inputs], ["y"]))
    given = [helper.make_tensor_value_info(*one) for one in inputs]
    graph = helper.make_graph(
        nodes, "sum", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])]
    )
    opset = [helper.make_opsetid("", 17)]
    return load_model(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=0, max_size=3), st.integers(1, 6), st.integers(0, 6))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], first: int, second: int
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    model = network(("x", TensorProto.FLOAT, ["N", *shape]), ("n", TensorProto.INT64, ["N", 3]))
    parts = [
        list_samples(
            [{"x": randn(1, *shape, seed=at), "n": np.arange(3)[None] + at} for at in range(count)],
            np.arange(count) if count else None,
        )
        for count in (first, second)
    ]
    write_npz(folder / "all.npz", [part for part in parts if len(part)])
    assert [file.name for file in folder.iterdir()] == ["all.npz"]
    with np.load(folder / "all.npz") as arrays:
        assert arrays["x"].shape == (first + second, *shape)
        assert arrays["labels"].tolist() == [*range(first), *range(second)]
    opened = open_samples(folder / "all.npz", model, labels_needed=False)
    assert opened.digests() == [digest for part in parts for digest in part.digests()]


def test_inputs_without_an_axis_of_rows(tmp_path: Path) -> None:
    model = network(
        ("x", TensorProto.FLOAT, ["N", 4]),
        ("state", TensorProto.FLOAT, [2, "N", 3]),
        ("sr", TensorProto.INT64, []),
    )
    rng = np.random.default_rng(0)
    given = {
        "x": rng.standard_normal((5, 4)).astype(np.float32),
        "state": rng.standard_normal((5, 2, 1, 3)).astype(np.float32),
        "sr": np.full(5, 16_000),
    }
    np.savez(tmp_path / "given.npz", **given)
    samples = open_samples(tmp_path / "given.npz", model)
    write_npz(tmp_path / "again.npz", [samples])
    assert open_samples(tmp_path / "again.npz", model).digests() == samples.digests()
    assert bytes_of(samples) == 5 * (16 + 24 + 8)


def test_labels_are_written_where_all_have_them(tmp_path: Path) -> None:
    items = [{"x": randn(1, 2)}]
    write_npz(tmp_path / "a.npz", [list_samples(items, [1]), list_samples(items)])
    with np.load(tmp_path / "a.npz") as arrays:
        assert set(arrays) == {"x"}


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="no samples"):
        write_npz(path, [list_samples([{"x": randn(1, 2)}]).take(0)])
    with pytest.raises(DataError, match="several rows at a time"):
        write_npz(path, [list_samples([{"x": randn(2, 2)}], batch=2)])
    with pytest.raises(DataError, match="different sizes"):
        write_npz(path, [list_samples([{"x": randn(1, 2)}, {"x": randn(1, 3)}])])

    def stop(_: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        write_npz(path, [list_samples([{"x": randn(1, 2)}])], stop)
    assert list(tmp_path.iterdir()) == []
