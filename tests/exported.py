"""Every quantizer of an exported file, from its initializers, and the rules a recipe sets for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from quantscope.core.quant import ScaleRule
from quantscope.core.quantize import LIMIT, worst_sum
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision, target

PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
Array = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One QuantizeLinear, or DequantizeLinear of stored integers."""

    output: str
    scale: Array
    zero_point: Array
    integers: Array | None  # None: an activation


class File:
    """An exported model by the names of its tensors."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.nodes = list(proto.graph.node)
        self.stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
        self.made = {output: node for node in self.nodes for output in node.output}

    def quantizers(self) -> Iterator[Stored]:
        """All of them; pairs of one activation count twice."""
        for node in self.nodes:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                yield self.quantizer(node)

    def quantizer(self, node: onnx.NodeProto) -> Stored:
        """The parameters of one node."""
        scale, zero = self.stored[node.input[1]], self.stored[node.input[2]]
        return Stored(
            output=node.output[0], scale=scale, zero_point=zero, integers=self.stored.get(node.input[0])
        )

    def behind(self, tensor: str) -> onnx.NodeProto | None:
        """The DequantizeLinear that makes a tensor, also behind the guard of weights in float."""
        node = self.made.get(tensor)
        if node is not None and node.op_type == "Max":
            node = self.made.get(node.input[0])
        return node if node is not None and node.op_type == "DequantizeLinear" else None


def is_power_of_two(scale: Array) -> bool:
    return bool(np.all(np.frexp(np.asarray(scale, np.float64))[0] == 0.5))


def check_rules(proto: onnx.ModelProto, recipe: Recipe) -> dict[str, int]:
    """Hold every quantizer against what the recipe says by default; layers may have precisions of their own.

    Returns:
        How many there were of each kind, so that a test can see that it has seen some.
    """
    file, rules = File(proto), target(recipe.target)
    choice = recipe.default
    widths = {recipe.default.precision, *(layer.precision for layer in recipe.layers.values())}
    # A layer in float gives 8 bits to a neighbour in integers.
    eight, sixteen = bool(widths - {Precision.INT16, None}), Precision.INT16 in widths
    types = [np.uint8] * eight + [np.uint16] * sixteen
    weights, biases = {}, {}
    for node in file.nodes:
        if node.op_type in PRODUCTS:
            for index, name in enumerate(node.input):
                made = file.behind(name)
                found = None if made is None else file.quantizer(made)
                if found is not None and found.integers is not None:
                    (biases if index == 2 else weights)[found.output] = (node, index, found)
    seen = {"activations": 0, "constants": 0, "weights": len(weights), "biases": len(biases)}
    for found in file.quantizers():
        assert np.isfinite(found.scale).all(), found.output
        assert (found.scale >= np.finfo(np.float32).tiny).all(), found.output
        if found.output in biases:
            continue
        assert found.scale.shape == found.zero_point.shape
        if choice.scale_rule is not ScaleRule.FREE:
            assert is_power_of_two(found.scale), f"{found.output}: scale {found.scale}"
        if found.output in weights:
            continue
        seen["constants" if found.integers is not None else "activations"] += 1
        assert found.zero_point.dtype in types, found.output
        if choice.symmetric:
            middle = 1 << (15 if found.zero_point.dtype == np.uint16 else 7)
            assert np.isin(found.zero_point, (0, middle)).all(), f"{found.output}: {found.zero_point}"
    for name, (node, index, found) in weights.items():
        assert found.integers is not None
        if index == 1:
            bits, middle = rules.weight.type.bits, 0 if rules.weight.type.signed else 128
            assert (found.zero_point == middle).all(), name
            assert np.abs(found.integers.astype(int) - middle).max(initial=0) < 1 << (bits - 1), name
        if (
            rules.avoids_saturation
            and widths <= {Precision.INT8, None}
            and file.behind(node.input[0]) is not None
        ):
            assert worst_sum(found.integers, ir.from_proto(node), index) <= LIMIT, name
    for name, (node, _, found) in biases.items():
        assert found.integers is not None
        assert found.integers.dtype == np.int32, name
        assert not found.zero_point.any(), name
        product = 1.0
        for tensor in node.input[:2]:
            made = file.behind(tensor)
            assert made is not None, name
            product = product * file.quantizer(made).scale.astype(np.float64)
        if node.op_type == "Gemm":
            product = product * next((a.f for a in node.attribute if a.name == "alpha"), 1.0)
        # A ConvTranspose repeats the scales of its weight for each group.
        expected = np.resize(product, found.scale.shape)
        np.testing.assert_allclose(found.scale, expected, rtol=1e-6, err_msg=name)
    return seen
