"""Write ONNX graphs by hand, so that every node and tensor has a name a reader can follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


class GraphWriter:
    """Collects nodes and initializers; a node's first output is named after the node."""

    def __init__(self, name: str, input_name: str, input_shape: tuple[int, ...]) -> None:
        self.name = name
        self.input = helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["N", *input_shape])
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        """Add an initializer once; the same name stands for the same value."""
        if name not in self.initializers:
            # ascontiguousarray would turn a scalar into a vector.
            array = np.array(value, dtype=dtype, order="C")
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, op: str, name: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        result = output or f"{name}.out"
        self.nodes.append(helper.make_node(op, list(inputs), [result], name=name, **attributes))
        return result

    def save(self, path: Path, output: str, output_shape: tuple[int, ...], description: str) -> None:
        """Check the graph, infer the shapes, and write the file."""
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", *output_shape])
        graph = helper.make_graph(
            self.nodes, self.name, [self.input], [result], initializer=list(self.initializers.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="quantscope-samples",
            doc_string=description,
        )
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
