"""Bring activations and gates that exporters spell out into the form that costs the fewest steps.

Every rewriting here is an identity of real numbers; results stay the same within float32's rounding. What
remains of scales and shifts is folded afterwards, see `core.model.loading.affine`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from quantscope.core.model.layers import STANDARD_DOMAINS
from quantscope.core.model.loading.editing import CUT, Editor, fits_rank, is_read_once, maker_of, number_of
from quantscope.core.model.loading.linear import LINEAR, WITH_BIAS

_SMALLEST_SLOPE = 1e-6  # of a HardSigmoid that is spelled out


def simplify_activations(model: ir.Model) -> None:
    """Rewrite the main graph in place.

    - Min and Max with a constant are the Clip they amount to, several in a row are one; Max(x, a·x) is a
      LeakyRelu;
    - HardSwish, and x · HardSigmoid(x), become x · Clip(x + 3, 0, 6) / 6, of which all but two steps fold
      away;
    - HardSigmoid behind a convolution or Gemm becomes a Clip from 0 to 1, which an integer kernel has built
      in; its factor and shift go into the weights;
    - a factor of one operand of a product becomes one of the product, so that the next weights take it in;
    - x + x · s becomes x · (s + 1) where s is one value a channel, as in residual squeeze-and-excitation;
    - a shift behind a Clip goes before it.
    """
    editor = _Rules(model.graph)
    for rule in (
        editor.leaky_relu,
        editor.limits,
        editor.hard_swish,
        editor.hard_sigmoid,
        editor.factor_out,
        editor.gate,
        editor.shift_first,
    ):
        editor.apply(rule)


def cut_off_unused(model: ir.Model) -> None:
    """Cut off at -3 what a convolution gives to a HardSwish, which is 0 below: the range left is finer."""
    editor = _Rules(model.graph)
    editor.apply(editor.cut_off)


def _is_float32(node: ir.Node) -> bool:
    return len(node.outputs) == 1 and bool(node.outputs[0].dtype == ir.DataType.FLOAT)


def _only_variable(node: ir.Node) -> ir.Value | None:
    """The one operand that is no constant."""
    found = [v for v in node.inputs if v is not None and v.const_value is None]
    return found[0] if len(found) == 1 else None


def _limits(node: ir.Node) -> tuple[float, float] | None:
    """Lowest and highest value of a Relu, a Clip by constants, and a Min or Max with a number."""
    if node.domain not in STANDARD_DOMAINS:
        return None
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type in ("Min", "Max") and len(node.inputs) == 2:
        constants = [v for v in node.inputs if v is not None and v.const_value is not None]
        number = number_of(constants[0]) if len(constants) == 1 else None
        if number is None or len(constants[0].const_value.shape) > 0:  # type: ignore[union-attr]
            return None
        return (number, np.inf) if node.op_type == "Max" else (-np.inf, number)
    if node.op_type != "Clip":
        return None
    given = [*node.inputs[1:3], None, None][:2]
    low, high = (None if v is None else number_of(v) for v in given)
    if any(v is not None and n is None for v, n in zip(given, (low, high), strict=True)):
        return None
    return -np.inf if low is None else low, np.inf if high is None else high


def _slope(node: ir.Node) -> tuple[float, float]:
    """Factor and shift of a HardSigmoid."""
    return node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)


class _Rules(Editor):
    """Rules for one node each; they do nothing where they do not fit."""

    def apply(self, rule: Callable[[ir.Node], None]) -> None:
        for node in list(self.graph):
            if self.holds(node) and _is_float32(node):
                rule(node)

    def leaky_relu(self, node: ir.Node) -> None:
        """Max(x, a · x) for 0 < a < 1."""
        if node.op_type != "Max" or len(node.inputs) != 2:
            return
        for x, scaled in (node.inputs, node.inputs[::-1]):
            maker = maker_of(scaled, "Mul")
            if x is None or scaled is None or maker is None or x not in maker.inputs:
                continue
            factor = maker.inputs[1 - maker.inputs.index(x)]
            alpha = number_of(factor)
            if factor is None or alpha is None or not fits_rank(factor, x):
                continue
            if 0 < alpha < 1 and is_read_once(scaled):
                self.replace(node, "LeakyRelu", [x], {"alpha": alpha})
                self.graph.remove(maker, safe=True)
                return

    def limits(self, node: ir.Node) -> None:
        """Min or Max with a number, and what limits there were before it."""
        own, x = _limits(node), _only_variable(node)
        if own is None or x is None:
            return
        low, high = own
        before = []
        while (maker := x.producer()) is not None and is_read_once(x) and (limits := _limits(maker)):
            further = _only_variable(maker)
            together = max(low, limits[0]), min(high, limits[1])
            if further is None or together[0] > together[1]:
                break
            before.append(maker)
            x, (low, high) = further, together
        if node.op_type in ("Relu", "Clip") and not before:
            return
        self.replace(node, "Clip", [x, *self._bounds(node, low, high)])
        for maker in before:
            self.graph.remove(maker, safe=True)

    def cut_off(self, node: ir.Node) -> None:
        """The product x · Clip(x + c, 0, …) of a sum with weights: nothing below -c counts."""
        if node.op_type != "Mul":
            return
        for x, gate in (node.inputs, node.inputs[::-1]):
            clip = maker_of(gate, "Clip")
            limits = None if clip is None else _limits(clip)
            if clip is None or limits is None or limits[0] != 0.0:
                continue
            add, maker = maker_of(clip.inputs[0], "Add"), maker_of(x, *LINEAR)
            if x is None or add is None or maker is None or x not in add.inputs:
                continue
            shift = number_of(add.inputs[1 - add.inputs.index(x)])
            if shift is None or shift < 0 or not is_read_once(add.outputs[0]):
                continue
            if set(x.consumers()) != {node, add} or x.is_graph_output():
                continue
            limit = self.constant(f"{node.name}.lowest", -shift)
            clipped, cut = self.node("Clip", [x, limit], x, f"{node.name}{CUT}")
            self.graph.insert_after(maker, clipped)
            for reader in (node, add):
                reader.replace_input_with(reader.inputs.index(x), cut)
            add.outputs[0].name = self.free(f"{add.outputs[0].name}{CUT}")
            return

    def hard_swish(self, node: ir.Node) -> None:
        """HardSwish(x) or x · HardSigmoid(x)."""
        if node.op_type == "HardSwish" and node.inputs[0] is not None:
            self._write_hard_swish(node, node.inputs[0], 1 / 6, 0.5)
        if node.op_type != "Mul":
            return
        for x, gate in (node.inputs, node.inputs[::-1]):
            maker = maker_of(gate, "HardSigmoid")
            if x is None or maker is None or maker.inputs[0] is not x:
                continue
            alpha, beta = _slope(maker)
            if gate is not None and is_read_once(gate) and alpha > _SMALLEST_SLOPE:
                self._write_hard_swish(node, x, alpha, beta)
                self.graph.remove(maker, safe=True)
                return

    def _write_hard_swish(self, node: ir.Node, x: ir.Value, alpha: float, beta: float) -> None:
        shifted = self._step("Add", [x, self._number(node, "shift", beta / alpha)], node, "shifted")
        bounds = [self._number(node, "low", 0.0), self._number(node, "high", 1 / alpha)]
        gate = self._step("Clip", [shifted, *bounds], node, "gate")
        self._scaled_product(node, [x, gate], alpha)

    def _scaled_product(self, node: ir.Node, factors: Sequence[ir.Value], scale: float) -> None:
        """A product that keeps the node's name, and a scale behind it, which may be folded."""
        product = self._step("Mul", factors, node, "product")
        number, name = self._number(node, "factor", scale), str(node.name)
        self.replace(node, "Mul", [product, number], name=self.free(f"{name}.scaled"))
        maker = product.producer()
        assert maker is not None
        maker.name = name

    def hard_sigmoid(self, node: ir.Node) -> None:
        """HardSigmoid of a sum with weights."""
        if node.op_type != "HardSigmoid":
            return
        x = node.inputs[0]
        maker = maker_of(x, *WITH_BIAS)
        if x is None or maker is None or not is_read_once(x):
            return
        if maker.inputs[1] is None or maker.inputs[1].const_value is None:
            return
        alpha, beta = _slope(node)
        scaled = self._step("Mul", [x, self._number(node, "scale", alpha)], node, "scaled")
        shifted = self._step("Add", [scaled, self._number(node, "shift", beta)], node, "shifted")
        bounds = [self._number(node, "low", 0.0), self._number(node, "high", 1.0)]
        self.replace(node, "Clip", [shifted, *bounds])

    def factor_out(self, node: ir.Node) -> None:
        """(c · u) · v of equal shapes."""
        if node.op_type != "Mul":
            return
        for i, operand in enumerate(node.inputs):
            maker, other = maker_of(operand, "Mul", "Div"), node.inputs[1 - i]
            if operand is None or maker is None or other is None or other.const_value is not None:
                continue
            which = 1 if number_of(maker.inputs[1]) is not None else 0
            constant, u = maker.inputs[which], maker.inputs[1 - which]
            factor = number_of(constant)
            if constant is None or factor is None or u is None or u.const_value is not None:
                continue
            if not is_read_once(operand) or not _same_shape(u, node.outputs[0]) or not fits_rank(constant, u):
                continue
            if maker.op_type == "Div":
                if which == 0 or factor == 0.0:
                    continue
                factor = 1 / factor
            self._scaled_product(node, [u, other] if i == 0 else [other, u], factor)
            self.graph.remove(maker, safe=True)
            return

    def gate(self, node: ir.Node) -> None:
        """The sum x + x · s with fewer values in s."""
        if node.op_type != "Add":
            return
        for x, product in (node.inputs, node.inputs[::-1]):
            maker = maker_of(product, "Mul")
            if x is None or x.const_value is not None or product is None or maker is None:
                continue
            if not is_read_once(product) or x not in maker.inputs:
                continue
            s = maker.inputs[1 - maker.inputs.index(x)]
            if s is None or s is x or s.const_value is not None or not _is_broadcast(s, x):
                continue
            more = self._step("Add", [s, self._number(node, "one", 1.0)], node, "gate")
            more.shape = s.shape
            self.replace(node, "Mul", [x, more])
            self.graph.remove(maker, safe=True)
            return

    def shift_first(self, node: ir.Node) -> None:
        """Clip(z) + c, as Clip(z + c) between shifted bounds."""
        if node.op_type != "Add":
            return
        for clipped, c in (node.inputs, node.inputs[::-1]):
            maker, shift = maker_of(clipped, "Relu", "Clip"), number_of(c)
            bounds = None if maker is None else _limits(maker)
            if clipped is None or maker is None or bounds is None or shift is None:
                continue
            z = maker.inputs[0]
            if z is None or z.const_value is not None or not is_read_once(clipped) or not is_read_once(z):
                continue
            if c is None or c.const_value is None or len(c.const_value.shape) > 0:
                continue
            shifted = self._step("Add", [z, self._number(node, "shift", shift)], node, "shifted")
            limits = self._bounds(node, bounds[0] + shift, bounds[1] + shift)
            self.replace(node, "Clip", [shifted, *limits])
            self.graph.remove(maker, safe=True)
            return

    def _step(self, op: str, inputs: Sequence[ir.Value | None], before: ir.Node, what: str) -> ir.Value:
        """A step of what will take the place of a node, of the same type and shape."""
        node, value = self.node(op, inputs, before.outputs[0], f"{before.name}.{what}")
        self.graph.insert_before(before, node)
        return value

    def _bounds(self, node: ir.Node, low: float, high: float) -> list[ir.Value | None]:
        """Operands of a Clip, left out where there is no limit."""
        operands: list[ir.Value | None] = [
            self._number(node, what, number) if np.isfinite(number) else None
            for what, number in (("low", low), ("high", high))
        ]
        return operands if operands[1] is not None else operands[:1]

    def _number(self, node: ir.Node, what: str, number: float) -> ir.Value:
        return self.constant(f"{node.name}.{what}", number)


def _same_shape(one: ir.Value, other: ir.Value) -> bool:
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        return False
    return all(a == b and a is not None for a, b in zip(one.shape, other.shape, strict=True))


def _is_broadcast(s: ir.Value, x: ir.Value) -> bool:
    """Whether s has one value where x has several, and is never the larger one."""
    if s.shape is None or x.shape is None or len(s.shape) != len(x.shape):
        return False
    pairs = list(zip(s.shape, x.shape, strict=True))
    return all(a in (1, b) for a, b in pairs) and any(a == 1 and b != 1 for a, b in pairs)
