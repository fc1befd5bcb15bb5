"""Models of which only the interface matters: any inputs, one small output."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from quantscope.core.data import Samples
from quantscope.core.model import Model, load_model

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((6, 3, 8, 8)).astype(np.float32)
Spec = tuple[object, tuple[int | str | None, ...]]


def model_with(inputs: Mapping[str, Spec], classes: int = 10) -> Model:
    """A model with these inputs (type, shape): sums all of them and gives (1, classes) scores."""
    nodes, sums = [], []
    for name in inputs:
        nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("ReduceSum", [f"{name}_float"], [f"{name}_sum"], keepdims=0))
        sums.append(f"{name}_sum")
    nodes.append(helper.make_node("Sum", sums, ["total"]))
    nodes.append(helper.make_node("Mul", ["total", "weights"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "interface",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in inputs.items()
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
        [helper.make_tensor("weights", TensorProto.FLOAT, [1, classes], np.linspace(-1, 1, classes))],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return load_model(made.SerializeToString())


def image_model(
    channels: int = 3, size: int | str = 8, batch: int | str = "N", dtype: object = np.float32
) -> Model:
    """A model with one image input `x` in NCHW."""
    return model_with({"x": (dtype, (batch, channels, size, size))})


def text_model() -> Model:
    """Two rows of token ids, and a number."""
    return model_with(
        {"ids": (np.int64, ("N", "seq")), "mask": (np.int64, ("N", "seq")), "t": (np.float32, ())}
    )


def save(path: Path, compressed: bool = False, **arrays: np.ndarray) -> Path:
    """Write an .npz."""
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def values(samples: Samples, name: str = "x") -> np.ndarray:
    """All samples of one input, one behind the other."""
    return np.concatenate([sample[name] for sample in samples])
