"""Errors of ONNX Runtime: the layer they are about is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantscope.core.model import load_model
from quantscope.ui.content.failing_layer import explained
from tests.test_app import network


@pytest.mark.parametrize(
    ("error", "layer"),
    [
        ("Non-zero status code returned while running QLinearAdd node. Name:'add_1_quant' bad", "add_1"),
        ("NOT_IMPLEMENTED: Could not find an implementation for Add(7) node with name 'add_11'", "add_11"),
        ("Node (add_1) Op (Add) has no kernel", "add_1"),
        ("the data do not fit: 'add_12' is not an input", ""),
        ("not enough memory", ""),
        ("", ""),
    ],
)
def test_the_layer_is_named_with_a_way_out(tmp_path: Path, error: str, layer: str) -> None:
    model = load_model(network(tmp_path / "n.onnx", ["add_1", "add_11"]))
    said = explained(error, model)
    assert said.startswith(error.rstrip(". "))
    assert (f"the layer {layer}: set its precision to float" in said) == bool(layer)
    assert layer or said == error
