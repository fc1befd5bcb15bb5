"""The models that come with the onnx package, most of them of opset 6: their stored outputs still hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import numpy_helper

from quantscope.core.errors import ModelError
from quantscope.core.model import load_model
from tests.graphs import session

DATA = Path(onnx.backend.test.__file__).parent / "data"
FAMILIES = ("pytorch-converted", "pytorch-operator", "simple")
CASES = sorted(
    path.parent
    for family in FAMILIES
    for path in (DATA / family).glob("*/model.onnx")
    if "strnorm" not in path.parent.name  # needs a locale that is not installed everywhere
)

pytestmark = pytest.mark.skipif(not CASES, reason="this onnx package comes without its test models")


def read_tensors(folder: Path, kind: str) -> list[np.ndarray] | None:
    """Inputs or outputs in order; None where they are no tensors (sequences)."""
    arrays = []
    for number in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = onnx.TensorProto()
        try:
            tensor.ParseFromString((folder / f"{kind}_{number}.pb").read_bytes())
            arrays.append(numpy_helper.to_array(tensor))
        except Exception:  # protobuf's and onnx's errors for another kind of message
            return None
    return arrays


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.name)
def test_stored_outputs_still_hold(case: Path) -> None:
    try:
        loaded = load_model(case / "model.onnx")
    except ModelError as error:
        if "training graph" not in str(error):
            raise
        return
    assert loaded.opset >= 13
    assert not any(note.startswith(("Not ", "Stays")) for note in loaded.notes)
    inputs, outputs = (read_tensors(case / "test_data_set_0", kind) for kind in ("input", "output"))
    if inputs is None or outputs is None:
        return
    feeds = {info.name: array for info, array in zip(loaded.inputs, inputs, strict=True)}
    for got, expected in zip(session(loaded.float_bytes()).run(None, feeds), outputs, strict=True):
        assert got.shape == expected.shape
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(
                got, expected, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(expected).max(initial=0))
            )
        else:
            np.testing.assert_array_equal(got, expected)
