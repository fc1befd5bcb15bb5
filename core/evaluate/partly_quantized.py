"""Models with only the weights, or only the activations, quantized: they tell which of the two costs more."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from quantscope.core.model import Model
from quantscope.core.quantize import Encodings, quantize_model


def activations_only(model: Model, encodings: Encodings) -> onnx.ModelProto:
    """The quantized model with its weights and biases left in float."""
    placement = replace(encodings.placement, weights={})
    return quantize_model(model, replace(encodings, placement=placement, weights={}, raw_weights={}))


def weights_only(model: Model, encodings: Encodings) -> onnx.ModelProto:
    """The float model computing with weights that were rounded to their integers and back.

    A weight that several nodes read with different encodings is rounded with the first node's.
    """
    changed = model.ir.clone()
    for node in encodings.weights:
        name = encodings.placement.weights[node].initializer
        value = changed.graph.initializers[name]
        original = model.ir.graph.initializers[name].const_value
        if value.const_value is original or value.const_value is None:
            assert original is not None
            rounded = encodings.rounded_weight(node, np.asarray(original.numpy(), np.float32))
            value.const_value = ir.tensor(rounded, name=name)
    return ir.to_proto(changed)
