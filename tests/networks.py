"""Small networks of the usual families, built node by node, for tests that need a whole graph."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Collects nodes and seeded weights; `model()` closes the graph."""

    def __init__(self, seed: int = 0, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def const(self, name: str, value: object, dtype: type = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def random(self, name: str, *shape: int, scale: float | None = None) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]
        values = self.rng.standard_normal(shape) * (scale if scale is not None else np.sqrt(2 / fan_in))
        return self.const(name, values)

    def add(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_{op}", **attributes))
        return output

    def conv(
        self, x: str, output: str, cin: int, cout: int, k: int = 3, stride: int = 1, group: int = 1
    ) -> str:
        w = self.random(f"{output}.w", cout, cin // group, k, k)
        b = self.random(f"{output}.b", cout, scale=0.1)
        pads = [k // 2] * 4
        return self.add(
            "Conv", [x, w, b], output, pads=pads, strides=[stride] * 2, group=group, kernel_shape=[k, k]
        )

    def model(self, inputs: dict[str, list[object]], outputs: dict[str, list[object]]) -> onnx.ModelProto:
        def infos(named: dict[str, list[object]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in named.items()]

        graph = helper.make_graph(self.nodes, "net", infos(inputs), infos(outputs), self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def residual_cnn(seed: int = 0) -> onnx.ModelProto:
    """ResNet-like: a stem, max pooling, two residual blocks, average pooling, a classifier."""
    n = Net(seed)
    x = n.add("Relu", [n.conv("image", "stem", 3, 8, stride=2)], "stem_relu")
    x = n.add("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    for i in range(2):
        y = n.add("Relu", [n.conv(x, f"b{i}.c1", 8, 8)], f"b{i}.r1")
        y = n.conv(y, f"b{i}.c2", 8, 8)
        x = n.add("Relu", [n.add("Add", [y, x], f"b{i}.sum")], f"b{i}.out")
    x = n.add("Flatten", [n.add("GlobalAveragePool", [x], "gap")], "flat")
    x = n.add("Gemm", [x, n.random("fc.w", 10, 8), n.random("fc.b", 10)], "logits", transB=1)
    return n.model({"image": ["N", 3, 32, 32]}, {"logits": ["N", 10]})


def mobile_cnn(seed: int = 0) -> onnx.ModelProto:
    """MobileNet-like: ReLU6, depthwise convolutions, inverted residuals with linear ends."""
    n = Net(seed)
    n.const("zero", 0.0), n.const("six", 6.0)

    def relu6(x: str) -> str:
        return n.add("Clip", [x, "zero", "six"], f"{x}_relu6")

    x = relu6(n.conv("image", "stem", 3, 8, stride=2))
    for i in range(2):
        y = relu6(n.conv(x, f"b{i}.expand", 8, 24, k=1))
        y = relu6(n.conv(y, f"b{i}.depthwise", 24, 24, group=24))
        y = n.conv(y, f"b{i}.project", 24, 8, k=1)
        x = n.add("Add", [y, x], f"b{i}.sum")
    x = n.add("Flatten", [n.add("GlobalAveragePool", [x], "gap")], "flat")
    n.add("Gemm", [x, n.random("fc.w", 10, 8), n.random("fc.b", 10)], "logits", transB=1)
    return n.model({"image": ["N", 3, 32, 32]}, {"logits": ["N", 10]})


def transformer(seed: int = 0, width: int = 16, heads: int = 2) -> onnx.ModelProto:
    """One encoder block with a dynamic sequence length: LayerNorm, attention, GELU in its Erf form."""
    n = Net(seed)

    def dense(x: str, name: str, cin: int, cout: int) -> str:
        y = n.add("MatMul", [x, n.random(f"{name}.w", cin, cout, scale=cin**-0.5)], f"{name}.mm")
        return n.add("Add", [y, n.random(f"{name}.b", cout, scale=0.1)], name)

    def norm(x: str, name: str) -> str:
        weights = [n.const(f"{name}.g", np.ones(width)), n.const(f"{name}.b", np.zeros(width))]
        return n.add("LayerNormalization", [x, *weights], name, axis=-1)

    (
        n.const("split_heads", [0, 0, heads, width // heads], np.int64),
        n.const("join_heads", [0, 0, width], np.int64),
    )
    x = norm("tokens", "norm1")
    q, k, v = (
        n.add("Reshape", [dense(x, part, width, width), "split_heads"], f"{part}.heads")
        for part in ("q", "k", "v")
    )
    q, v = (
        n.add(
            "Transpose",
            [
                t,
            ],
            f"{t}.t",
            perm=[0, 2, 1, 3],
        )
        for t in (q, v)
    )
    k = n.add("Transpose", [k], "k.t", perm=[0, 2, 3, 1])
    s = n.add("Mul", [n.add("MatMul", [q, k], "scores"), n.const("root", (width // heads) ** -0.5)], "scaled")
    a = n.add("MatMul", [n.add("Softmax", [s], "attention", axis=-1), v], "context")
    a = n.add("Reshape", [n.add("Transpose", [a], "context.t", perm=[0, 2, 1, 3]), "join_heads"], "joined")
    x = n.add("Add", ["tokens", dense(a, "proj", width, width)], "res1")
    h = dense(norm(x, "norm2"), "up", width, 2 * width)
    e = n.add("Erf", [n.add("Div", [h, n.const("sqrt2", 2**0.5)], "gelu.div")], "gelu.erf")
    g = n.add("Mul", [h, n.add("Add", [e, n.const("one", 1.0)], "gelu.add")], "gelu.mul")
    g = n.add("Mul", [g, n.const("half", 0.5)], "gelu")
    n.add("Add", [x, dense(g, "down", 2 * width, width)], "encoded")
    return n.model({"tokens": ["N", "T", width]}, {"encoded": ["N", "T", width]})


def embedding() -> onnx.ModelProto:
    """Rows of a table, which keep its scale, read by a product."""
    n = Net()
    rows = n.add("Gather", [n.random("table", 12, 8), "tokens"], "rows")
    n.add("MatMul", [rows, n.random("w", 8, 5)], "scores")
    proto = n.model({"tokens": ["N", 4]}, {"scores": ["N", 4, 5]})
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return proto


def masked_attention(mask: float) -> onnx.ModelProto:
    """Scores plus an additive mask, as attention has them."""
    n = Net()
    n.add("MatMul", ["x", n.random("w", 8, 8)], "scores")
    hidden = np.zeros((1, 8))
    hidden[0, 5:] = mask
    n.add("Softmax", [n.add("Add", ["scores", n.const("mask", hidden)], "masked")], "weights", axis=-1)
    n.add("MatMul", ["weights", n.random("v", 8, 4)], "y")
    return n.model({"x": ["N", 8]}, {"y": ["N", 4]})


def shapes_cnn(seed: int = 0) -> onnx.ModelProto:
    """Operators that move values about: Concat, Resize, Pad, Slice, Split, average pooling, ConvTranspose."""
    n = Net(seed)
    x = n.add("Relu", [n.conv("image", "a", 3, 8)], "a_relu")
    p = n.add("Pad", [x, n.const("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)], "padded")
    p = n.add("AveragePool", [p], "averaged", kernel_shape=[3, 3], strides=[1, 1])
    c = n.add("Concat", [n.conv(p, "b", 8, 4), n.conv(x, "c", 8, 4, k=1)], "joined", axis=1)
    n.nodes.append(
        helper.make_node(
            "Split", [c, n.const("halves", [4, 4], np.int64)], ["s0", "s1"], name="split", axis=1
        )
    )
    m = n.add("Mul", ["s0", n.add("Sigmoid", ["s1"], "gate")], "gated")
    up = n.add("Resize", [m, "", n.const("scales", [1.0, 1.0, 2.0, 2.0])], "resized", mode="nearest")
    w = n.random("up.w", 4, 4, 2, 2)
    d = n.add(
        "ConvTranspose", [m, w, n.random("up.b", 4, scale=0.1)], "deconv", strides=[2, 2], kernel_shape=[2, 2]
    )
    y = n.add("LeakyRelu", [n.add("Add", [up, d], "merged")], "leaky", alpha=0.1)
    starts, ends = n.const("starts", [0, 0], np.int64), n.const("ends", [32, 32], np.int64)
    y = n.add("Slice", [y, starts, ends, n.const("axes", [2, 3], np.int64)], "cut")
    n.conv(y, "mask", 4, 2, k=1)
    return n.model({"image": ["N", 3, 32, 32]}, {"mask": ["N", 2, 32, 32]})


NETWORKS = {
    "residual_cnn": (residual_cnn, {"image": (1, 3, 32, 32)}),
    "mobile_cnn": (mobile_cnn, {"image": (1, 3, 32, 32)}),
    "transformer": (transformer, {"tokens": (1, 12, 16)}),
    "shapes_cnn": (shapes_cnn, {"image": (1, 3, 32, 32)}),
}


def feeds(name: str, count: int = 6, seed: int = 1) -> list[dict[str, np.ndarray]]:
    """Seeded inputs for a network of the table above, one sample each."""
    rng = np.random.default_rng(seed)
    shapes = NETWORKS[name][1]
    return [{k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()} for _ in range(count)]
