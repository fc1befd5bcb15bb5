"""MobileNetV2, ResNet-50 and encoders with random weights: the right shapes to measure speed and memory."""

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


def encoder(
    blocks: int, *, width: int = 64, heads: int = 4, inner: int = 128, seed: int = 0
) -> onnx.ModelProto:
    """An encoder of token ids (N, 32) of many thin blocks: thousands of layers."""
    b = Builder(seed)

    def node(op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        b.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def whole_numbers(name: str, values: list[int]) -> str:
        b.weights.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def normal(name: str, shape: tuple[int, ...], deviation: float) -> str:
        return b.constant(name, b.generator.standard_normal(shape) * deviation)

    def linear(x: str, name: str, rows: int, columns: int) -> str:
        x = node("MatMul", [x, normal(f"{name}.w", (rows, columns), rows**-0.5)], f"{name}.mm")
        return node("Add", [x, normal(f"{name}.bias", (columns,), 0.02)], name)

    def normalized(x: str, name: str) -> str:
        gain = np.ones(width)
        gain[b.generator.integers(0, width, 3)] = 12  # outlier channels, as trained encoders have them
        scale, bias = b.constant(f"{name}.g", gain), b.constant(f"{name}.b", np.zeros(width))
        return node("LayerNormalization", [x, scale, bias], name, axis=-1, epsilon=1e-5)

    split, joined = (
        whole_numbers("split", [0, 0, heads, width // heads]),
        whole_numbers("joined", [0, 0, width]),
    )
    root = b.constant("root", 1 / math.sqrt(width // heads))
    x = node("Gather", [normal("emb.weight", (1000, width), 0.02), "input_ids"], "emb")
    x = normalized(node("Add", [x, normal("pos", (1, 32, width), 0.02)], "emb.pos"), "emb.ln")
    for number in range(blocks):
        at = f"layer.{number}"
        q, k, v = (
            node("Reshape", [linear(x, f"{at}.{c}", width, width), split], f"{at}.{c}.r") for c in "qkv"
        )
        q, v = (node("Transpose", [t], f"{t[:-2]}.t", perm=[0, 2, 1, 3]) for t in (q, v))
        k = node("Transpose", [k], f"{at}.k.t", perm=[0, 2, 3, 1])
        scores = node("Mul", [node("MatMul", [q, k], f"{at}.qk"), root], f"{at}.qks")
        mixed = node("MatMul", [node("Softmax", [scores], f"{at}.att", axis=-1), v], f"{at}.av")
        mixed = node(
            "Reshape", [node("Transpose", [mixed], f"{at}.avt", perm=[0, 2, 1, 3]), joined], f"{at}.avr"
        )
        x = normalized(node("Add", [x, linear(mixed, f"{at}.o", width, width)], f"{at}.res1"), f"{at}.ln1")
        f = node("Gelu", [linear(x, f"{at}.f1", width, inner)], f"{at}.gelu")
        x = normalized(node("Add", [x, linear(f, f"{at}.f2", inner, width)], f"{at}.res2"), f"{at}.ln2")
    logits = node("MatMul", [x, normal("head.w", (width, 16), 0.05)], "logits")
    graph = helper.make_graph(
        b.nodes,
        "encoder",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", 32])],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["N", 32, 16])],
        b.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


NETWORKS = {"mobilenet_v2": mobilenet_v2, "resnet50": resnet50}
