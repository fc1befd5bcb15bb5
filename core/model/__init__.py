"""From an ONNX file to the layers and tensors that the rest works on."""

from quantscope.core.model.layers import Layer, TensorInfo, build_layers, float_tensors, is_float
from quantscope.core.model.model import Model, load_model
from quantscope.core.model.origin import Origin
from quantscope.core.model.output_path import OutputPath, output_path_of, quoted_names
from quantscope.core.model.session import Array, float_session, light_graph, model_session

__all__ = [
    "Array",
    "Layer",
    "Model",
    "Origin",
    "OutputPath",
    "TensorInfo",
    "build_layers",
    "float_session",
    "float_tensors",
    "is_float",
    "light_graph",
    "load_model",
    "model_session",
    "output_path_of",
    "quoted_names",
]
