"""What old operators are in today's terms: one small rule for each operator whose form changed."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[np.generic]


class Tape:
    """Collects the new nodes, in order; `opset` is the version that they are written in."""

    def __init__(self, opset: int) -> None:
        self.nodes: list[ir.Node] = []
        self.opset = opset

    def node(
        self, op: str, inputs: Sequence[ir.Value | None], outputs: int, **attributes: object
    ) -> Sequence[ir.Value]:
        """Append a node; returns its outputs."""
        given = ir.convenience.convert_attributes(attributes)  # type: ignore[arg-type]
        self.nodes.append(ir.Node("", op, list(inputs), given, num_outputs=outputs))
        return self.nodes[-1].outputs

    def op(self, op: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        """Append a node of one output; returns that."""
        return self.node(op, inputs, 1, **attributes)[0]

    def constant(self, array: Array) -> ir.Value:
        """Append a Constant."""
        value = self.op("Constant", value=ir.tensor(array))
        value.type, value.shape = ir.TensorType(ir.DataType.from_numpy(array.dtype)), ir.Shape(array.shape)
        return value


Rule = Callable[[ir.Node, Tape], Sequence[ir.Value | None]]


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind an initializer or a Constant node; None where there is none."""
    if value is None:
        return None
    if value.const_value is not None:
        return value.const_value
    producer = value.producer()
    if producer is not None and producer.op_type == "Constant" and "value" in producer.attributes:
        return producer.attributes["value"].as_tensor()
    return None


def _floats(node: ir.Node, name: str) -> npt.NDArray[np.float32]:
    attribute = node.attributes.get(name)
    return np.asarray(attribute.as_floats() if attribute is not None else (), np.float32)


def _int64s(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _scalar_attribute(node: ir.Node, name: str, default: float) -> Array:
    """A scalar attribute, in the type of the node's input."""
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    return np.asarray(node.attributes.get_float(name, default), (dtype or ir.DataType.FLOAT).numpy())


# Operators that ONNX 1.5 removed and ONNX Runtime still runs; meaning as in its kernels.


def _image_scaler(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    scale = _scalar_attribute(node, "scale", 1.0)
    bias = _floats(node, "bias").reshape(-1, 1, 1).astype(scale.dtype)
    scaled = tape.op("Mul", node.inputs[0], tape.constant(scale))
    return [tape.op("Add", scaled, tape.constant(bias)) if bias.size else scaled]


def _crop(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    left, top, right, bottom = (int(v) for v in node.attributes["border"].as_ints())
    size = [int(v) for v in node.attributes["scale"].as_ints()] if "scale" in node.attributes else []
    far = int(np.iinfo(np.int64).max)
    ends = [top + size[0], left + size[1]] if size else [-bottom or far, -right or far]
    if tape.opset < 10:
        return [tape.op("Slice", node.inputs[0], axes=[2, 3], starts=[top, left], ends=ends)]
    places = [tape.constant(_int64s(*v)) for v in ((top, left), ends, (2, 3))]
    return [tape.op("Slice", node.inputs[0], *places)]


def _affine(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    scaled = tape.op("Mul", node.inputs[0], tape.constant(_scalar_attribute(node, "alpha", 1.0)))
    return [tape.op("Add", scaled, tape.constant(_scalar_attribute(node, "beta", 0.0)))]


def _scale(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    return [tape.op("Mul", node.inputs[0], tape.constant(_scalar_attribute(node, "scale", 1.0)))]


def _scaled_tanh(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    inner = tape.op("Mul", node.inputs[0], tape.constant(_scalar_attribute(node, "beta", 0.0)))
    return [tape.op("Mul", tape.op("Tanh", inner), tape.constant(_scalar_attribute(node, "alpha", 0.0)))]


def _parametric_softplus(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    inner = tape.op("Mul", node.inputs[0], tape.constant(_scalar_attribute(node, "beta", 0.0)))
    return [tape.op("Mul", tape.op("Softplus", inner), tape.constant(_scalar_attribute(node, "alpha", 0.0)))]


REMOVED: dict[str, Rule] = {
    "Affine": _affine,
    "Crop": _crop,
    "ImageScaler": _image_scaler,
    "ParametricSoftplus": _parametric_softplus,
    "Scale": _scale,
    "ScaledTanh": _scaled_tanh,
}


# Operators of another form or meaning in later opsets.

# Attributes that became inputs: operator → (attribute, index of the input).
_BECAME_INPUTS: dict[str, tuple[tuple[str, int], ...]] = {
    "Clip": (("min", 1), ("max", 2)),
    "Dropout": (("ratio", 1),),
    "Pad": (("pads", 1), ("value", 2)),
    "Slice": (("starts", 1), ("ends", 2), ("axes", 3)),
    "Split": (("split", 1),),
    "TopK": (("k", 1),),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "ReduceSum"), (("axes", 1),)),
    **dict.fromkeys(
        (
            f"Reduce{name}"
            for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
        ),
        (("axes", 1),),
    ),
}


def _became_inputs(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    inputs = list(node.inputs)
    kept: dict[str, object] = dict(node.attributes)
    for name, index in _BECAME_INPUTS[node.op_type]:
        attribute = node.attributes.get(name)
        if attribute is None:
            continue
        del kept[name]
        inputs.extend([None] * (index + 1 - len(inputs)))
        if attribute.type == ir.AttributeType.FLOAT:
            inputs[index] = tape.constant(_scalar_attribute(node, name, 0.0))
        elif attribute.type == ir.AttributeType.INT:
            inputs[index] = tape.constant(_int64s(attribute.as_int()))
        else:
            inputs[index] = tape.constant(_int64s(*attribute.as_ints()))
    if node.op_type == "Split" and tape.opset >= 18 and (len(inputs) < 2 or inputs[1] is None):
        kept["num_outputs"] = len(node.outputs)
    return _copy(node, tape, inputs, kept)


def _copy(
    node: ir.Node, tape: Tape, inputs: Sequence[ir.Value | None], attributes: dict[str, object]
) -> Sequence[ir.Value]:
    """The same operator with other inputs or attributes (plain values, or `ir.Attr` to keep)."""
    given = [v for v in attributes.values() if isinstance(v, ir.Attr)]
    plain = {k: v for k, v in attributes.items() if not isinstance(v, ir.Attr)}
    given.extend(ir.convenience.convert_attributes(plain))  # type: ignore[arg-type]
    tape.nodes.append(ir.Node("", node.op_type, list(inputs), given, num_outputs=len(node.outputs)))
    return tape.nodes[-1].outputs


def _resize(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    """Upsample (to opset 9) and Resize 10 sample at x / scale; Resize 11 must be told so."""
    scales: ir.Value | None
    if "scales" in node.attributes:
        given = _floats(node, "scales")
        scales = tape.constant(given)
    else:
        scales = node.inputs[1]
        tensor = constant_tensor(scales)
        given = np.asarray(tensor.numpy() if tensor is not None else 1, np.float32)
    mode = node.attributes.get_string("mode", "nearest")
    shrinks = bool((given < 1).any())
    if shrinks and bool((given > 1).any()) and mode == "nearest":
        raise ValueError("it enlarges one axis and shrinks another")
    value = tape.op(
        "Resize",
        node.inputs[0],
        None,
        scales,
        mode="linear" if mode in ("linear", "bilinear") else mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="ceil" if shrinks else "floor",
    )
    return [value]


def _softmax(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    """Before opset 13, all dimensions from `axis` on were flattened into one."""
    x = node.inputs[0]
    axis = node.attributes.get_int("axis", 1)
    dims = list(x.shape) if x is not None and x.shape is not None else None
    if axis == -1 or (dims and axis % len(dims) == len(dims) - 1):
        return [tape.op(node.op_type, x, axis=-1)]
    if dims and all(d == 1 for d in dims[axis % len(dims) + 1 :]):
        return [tape.op(node.op_type, x, axis=axis)]
    flat = tape.op("Flatten", x, axis=axis)
    return [tape.op("Reshape", tape.op(node.op_type, flat, axis=-1), tape.op("Shape", x))]


def _batch_norm(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    if node.attributes.get_int("spatial", 1) != 1:
        raise ValueError("spatial=0 has no later form")
    kept: dict[str, object] = {k: a for k, a in node.attributes.items() if k in ("epsilon", "momentum")}
    return _copy(node, tape, node.inputs, kept)


def _prelu(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    """Before opset 7, a row of slopes went along axis 1; now it would go along the last."""
    x, slope = node.inputs[0], node.inputs[1]
    if x is None or slope is None or x.shape is None or slope.shape is None:
        raise ValueError("its rank is unknown")
    extra = len(x.shape) - 2
    if len(slope.shape) == 1 and slope.shape[0] != 1 and extra > 0:
        slope = tape.op("Unsqueeze", slope, tape.constant(_int64s(*range(1, extra + 1))))
    return [tape.op("PRelu", x, slope)]


def _grid_sample(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    kept: dict[str, object] = dict(node.attributes)
    mode = node.attributes.get_string("mode", "bilinear")
    kept["mode"] = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return _copy(node, tape, node.inputs, kept)


def _roi_align(node: ir.Node, tape: Tape) -> Sequence[ir.Value]:
    kept: dict[str, object] = dict(node.attributes)
    kept.setdefault("coordinate_transformation_mode", "output_half_pixel")
    return _copy(node, tape, node.inputs, kept)


RULES: dict[str, Rule] = {
    **dict.fromkeys(_BECAME_INPUTS, _became_inputs),
    "BatchNormalization": _batch_norm,
    "GridSample": _grid_sample,
    "Hardmax": _softmax,
    "LogSoftmax": _softmax,
    "PRelu": _prelu,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Softmax": _softmax,
    "Upsample": _resize,
}

# The same attributes before and after these opsets, but another meaning (or one more that is required).
CHANGED_MEANING = {
    "GridSample": 20,
    "Hardmax": 13,
    "LogSoftmax": 13,
    "PRelu": 7,
    "Resize": 11,
    "RoiAlign": 16,
    "Scan": 9,
    "Softmax": 13,
    "Split": 18,
    "Upsample": 10,
}
