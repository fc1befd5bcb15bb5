"""MobileNetV2 and ResNet-50 with random weights: the right shapes for measuring speed and memory."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """A chain of nodes over (N, 3, 224, 224) with weights drawn so that activations keep their size (He)."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, shape: tuple[int, ...], gain: float) -> str:
        fan_in = math.prod(shape[1:])
        return self.constant(name, self.generator.standard_normal(shape) * math.sqrt(gain / fan_in))

    def constant(self, name: str, values: npt.ArrayLike) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv(
        self,
        x: str,
        channels: tuple[int, int],
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        gain: float = 2.0,
    ) -> str:
        """Convolution with a bias, padded to keep the size, as after folding BatchNormalization."""
        number, (inner, outer) = len(self.nodes), channels
        w = self.weight(f"w{number}", (outer, inner // groups, kernel, kernel), gain)
        bias = self.constant(f"b{number}", self.generator.standard_normal(outer) * 0.1)
        pads, strides = [kernel // 2] * 4, [stride] * 2
        return self.node(
            "Conv", [x, w, bias], kernel_shape=[kernel] * 2, strides=strides, pads=pads, group=groups
        )

    def relu6(self, x: str) -> str:
        if not any(w.name == "six" for w in self.weights):
            self.constant("zero", 0.0)
            self.constant("six", 6.0)
        return self.node("Clip", [x, "zero", "six"])

    def finish(self, x: str, features: int, name: str) -> onnx.ModelProto:
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        w, number = self.weight("fc_w", (1000, features), 1.0), len(self.nodes)
        self.constant("fc_b", np.zeros(1000))
        logits = self.node("Gemm", [x, w, "fc_b"], transB=1)
        self.nodes[number].output[0] = logits = "logits"
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
            [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["N", 1000])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


def mobilenet_v2(seed: int = 0) -> onnx.ModelProto:
    """MobileNetV2 1.0 at 224 pixels: 3.5 M weights, 0.3 GMAC (Sandler et al., 2018, table 2)."""
    b = Builder(seed)
    x, width = b.relu6(b.conv("input", (3, 32), 3, 2)), 32
    for expansion, outer, repeats, first_stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for index in range(repeats):
            stride, hidden, start = first_stride if index == 0 else 1, width * expansion, x
            if expansion > 1:
                x = b.relu6(b.conv(x, (width, hidden), 1))
            x = b.relu6(b.conv(x, (hidden, hidden), 3, stride, groups=hidden))
            x = b.conv(x, (hidden, outer), 1, gain=1.0)
            x = b.node("Add", [start, x]) if stride == 1 and width == outer else x
            width = outer
    return b.finish(b.relu6(b.conv(x, (width, 1280), 1)), 1280, "mobilenet_v2")


def resnet50(seed: int = 0) -> onnx.ModelProto:
    """ResNet-50 v1.5 at 224 pixels: 25.6 M weights, 4.1 GMAC (He et al., 2015; stride in the 3x3)."""
    b = Builder(seed)
    x = b.node("Relu", [b.conv("input", (3, 64), 7, 2)])
    x, width = b.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for inner, repeats, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(repeats):
            stride, start = first_stride if index == 0 else 1, x
            x = b.node("Relu", [b.conv(x, (width, inner), 1)])
            x = b.node("Relu", [b.conv(x, (inner, inner), 3, stride)])
            x = b.conv(x, (inner, 4 * inner), 1, gain=0.2)
            if index == 0:
                start = b.conv(start, (width, 4 * inner), 1, stride, gain=1.0)
            x, width = b.node("Relu", [b.node("Add", [x, start])]), 4 * inner
    return b.finish(x, width, "resnet50")


NETWORKS = {"mobilenet_v2": mobilenet_v2, "resnet50": resnet50}
