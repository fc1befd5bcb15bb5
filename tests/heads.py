"""Small networks whose outputs join quantities of different size, as detectors and depth networks do."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from tests.evaluating import Sample
from tests.networks import Net

PIXELS = 160.0  # boxes reach a few hundred pixels, scores reach 1


def _body(n: Net) -> str:
    return n.add("Relu", [n.conv("image", "stem", 3, 8)], "stem_relu")


def _boxes(n: Net, x: str, name: str, count: int = 4, scale: float = PIXELS) -> str:
    w = n.random(f"{name}.w", count, 8, 1, 1, scale=0.4)
    y = n.add("Conv", [x, w, n.const(f"{name}.b", np.full(count, 3.0))], f"{name}.raw", kernel_shape=[1, 1])
    return n.add("Mul", [y, n.const(f"{name}.scale", scale)], name)


def _scores(n: Net, x: str, name: str, count: int = 3) -> str:
    w = n.random(f"{name}.w", count, 8, 1, 1, scale=0.4)
    y = n.add("Conv", [x, w, n.const(f"{name}.b", np.zeros(count))], f"{name}.raw", kernel_shape=[1, 1])
    return n.add("Sigmoid", [y], name)


def _join(n: Net, parts: list[str], name: str, axis: int = 1) -> str:
    return n.add("Concat", parts, name, axis=axis)


def _flat(n: Net, x: str, name: str, channels: int, positions: int) -> str:
    shape = n.const(f"{name}.shape", [-1, channels, positions], np.int64)
    return n.add("Reshape", [x, shape], name)


def joined_first() -> onnx.ModelProto:
    """Boxes and scores joined along axis 1, then reshaped: (N, 7, 64)."""
    n = Net(1)
    x = _body(n)
    joined = _join(n, [_boxes(n, x, "boxes"), _scores(n, x, "scores")], "cat")
    _flat(n, joined, "y", 7, 64)
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 7, 64]})


def joined_last() -> onnx.ModelProto:
    """Transposed before they are joined along the last axis: (N, 64, 7)."""
    n = Net(2)
    x = _body(n)
    parts = []
    for name, part, count in (("b", _boxes(n, x, "boxes"), 4), ("s", _scores(n, x, "scores"), 3)):
        parts.append(n.add("Transpose", [_flat(n, part, f"{name}.flat", count, 64)], name, perm=[0, 2, 1]))
    _join(n, parts, "y", axis=2)
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 64, 7]})


def three_scales() -> onnx.ModelProto:
    """Joined for each of three scales, and the scales joined, then transposed: (N, 84, 7)."""
    n = Net(3)
    x = _body(n)
    scales = []
    for i, side in enumerate((8, 4, 2)):
        joined = _join(n, [_boxes(n, x, f"boxes{i}"), _scores(n, x, f"scores{i}")], f"cat{i}")
        scales.append(_flat(n, joined, f"flat{i}", 7, side * side))
        x = n.add("MaxPool", [x], f"pool{i}", kernel_shape=[2, 2], strides=[2, 2])
    n.add("Transpose", [_join(n, scales, "all", axis=2)], "y", perm=[0, 2, 1])
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 84, 7]})


def split_at_the_end() -> onnx.ModelProto:
    """Joined, and taken apart again by Slice into two outputs."""
    n = Net(4)
    x = _body(n)
    joined = _join(n, [_boxes(n, x, "boxes"), _scores(n, x, "scores")], "cat")
    flat = _flat(n, joined, "flat", 7, 64)
    for name, start, end in (("where", 0, 4), ("what", 4, 7)):
        limits = [n.const(f"{name}.{k}", [v], np.int64) for k, v in (("from", start), ("to", end), ("of", 1))]
        n.add("Slice", [flat, *limits], name)
    return n.model({"image": ["N", 3, 8, 8]}, {"where": ["N", 4, 64], "what": ["N", 3, 64]})


def flattened() -> onnx.ModelProto:
    """All boxes and then all scores in one row: (N, 448)."""
    n = Net(10)
    x = _body(n)
    rows = [n.add("Flatten", [y], f"{y}.flat") for y in (_boxes(n, x, "boxes"), _scores(n, x, "scores"))]
    _join(n, rows, "y")
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 448]})


def decoded() -> onnx.ModelProto:
    """Sigmoids split, the corners decoded by a grid and anchors, and all joined again: (N, 64, 7)."""
    n = Net(11)
    y = n.add("Sigmoid", [n.conv(_body(n), "head", 8, 7, k=1)], "all")
    sizes = n.const("sizes", [2, 2, 3], np.int64)
    n.nodes.append(helper.make_node("Split", [y, sizes], ["corner", "side", "score"], name="split", axis=1))
    two, grid = n.const("two", 2.0), np.stack(np.meshgrid(np.arange(8), np.arange(8)))
    corner = n.add(
        "Add", [n.add("Mul", ["corner", two], "doubled"), n.const("grid", grid[None] - 0.5)], "on_grid"
    )
    corner = n.add("Mul", [corner, n.const("stride", 32.0)], "in_pixels")
    side = n.add("Mul", ["side", two], "wide")
    anchors = n.const("anchors", np.array([30.0, 61.0]).reshape(1, 2, 1, 1))
    side = n.add("Mul", [n.add("Mul", [side, side], "squared"), anchors], "anchored")
    n.add(
        "Transpose", [_flat(n, _join(n, [corner, side, "score"], "cat"), "flat", 7, 64)], "y", perm=[0, 2, 1]
    )
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 64, 7]})


def scaled_after() -> onnx.ModelProto:
    """Joined while they are about as large, and scaled to pixels only then: (N, 7, 8, 8)."""
    n = Net(12)
    x = _body(n)
    joined = _join(n, [n.conv(x, "corners", 8, 4, k=1), _scores(n, x, "scores")], "cat")
    sizes = n.const("sizes", np.array([640.0] * 4 + [1.0] * 3).reshape(1, 7, 1, 1))
    n.add("Mul", [joined, sizes], "y")
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 7, 8, 8]})


def landmarks() -> onnx.ModelProto:
    """Ten landmarks in pixels and a score, with channels last: (N, 8, 8, 11)."""
    n = Net(5)
    x = _body(n)
    joined = _join(n, [_boxes(n, x, "points", 10), _scores(n, x, "score", 1)], "cat")
    n.add("Transpose", [joined], "y", perm=[0, 2, 3, 1])
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 8, 8, 11]})


def depth() -> onnx.ModelProto:
    """A depth map in millimetres and its confidence: (N, 2, 8, 8)."""
    n = Net(6)
    x = _body(n)
    _join(n, [_boxes(n, x, "depth", 1, 900.0), _scores(n, x, "confidence", 1)], "y")
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 2, 8, 8]})


def one_convolution() -> onnx.ModelProto:
    """Boxes and scores from one convolution, whose bias and weights differ by channel: (N, 7, 8, 8)."""
    n = Net(7)
    x = _body(n)
    size = np.array([PIXELS] * 4 + [0.2] * 3, np.float32)
    w = n.const("w", n.rng.standard_normal((7, 8, 1, 1)) * 0.4 * size.reshape(7, 1, 1, 1))
    n.add("Conv", [x, w, n.const("b", size)], "y", kernel_shape=[1, 1])
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 7, 8, 8]})


def huge_token() -> onnx.ModelProto:
    """Tokens of which one channel is 3,000 times the others, as some transformers have: (N, 12, 16)."""
    n = Net(8)
    x = n.add("MatMul", ["tokens", n.random("w", 16, 16, scale=0.25)], "mixed")
    size = np.ones(16, np.float32)
    size[5] = 3000.0
    x = n.add("Relu", [x], "active")
    n.add("MatMul", [x, n.const("v", n.rng.standard_normal((16, 16)) * 0.25 * size)], "y")
    return n.model({"tokens": ["N", 12, 16]}, {"y": ["N", 12, 16]})


def unread_channel() -> onnx.ModelProto:
    """A channel of 1e30 that no output reads, in one tensor with three that all do: (N, 3, 8, 8)."""
    n = Net(9)
    size = np.array([1.0, 0.5, 2.0, 1e30], np.float32)
    w = n.const("w", n.rng.standard_normal((4, 3, 3, 3)) * 0.3 * size.reshape(4, 1, 1, 1))
    b = n.const("b", [0.1, 0.5, 0.2, 0.0])
    n.add("Conv", ["image", w, b], "a", kernel_shape=[3, 3], pads=[1] * 4)
    limits = [n.const(k, [v], np.int64) for k, v in (("from", 0), ("to", 3), ("of", 1))]
    n.add("Slice", ["a", *limits], "y")
    return n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 3, 8, 8]})


HEADS = {
    build.__name__: build
    for build in (
        joined_first, joined_last, three_scales, split_at_the_end, flattened, decoded, scaled_after,
        landmarks, depth,
        one_convolution, huge_token, unread_channel,
    )
}  # fmt: skip


def samples_for(name: str, count: int = 24, seed: int = 0) -> list[Sample]:
    """Seeded inputs of one row each."""
    rng = np.random.default_rng(seed)
    key, shape = ("tokens", (1, 12, 16)) if name == "huge_token" else ("image", (1, 3, 8, 8))
    return [{key: rng.standard_normal(shape).astype(np.float32)} for _ in range(count)]
