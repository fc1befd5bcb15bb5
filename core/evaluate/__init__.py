"""Float against quantized: per layer, whole output, task accuracy, size, latency; run by ONNX Runtime."""

from quantscope.core.evaluate.compare import Comparison, DefaultSession, compare, error_dict
from quantscope.core.evaluate.correspondence import QuantizedFile, check_interface, read_quantized
from quantscope.core.evaluate.fusion import FusionReport, fusion_report, integer_layers
from quantscope.core.evaluate.latency import Latency
from quantscope.core.evaluate.layers import LayerError, layer_errors
from quantscope.core.evaluate.outputs import OutputComparison, OutputError
from quantscope.core.evaluate.reference import FloatReference, Preview, float_reference, preview
from quantscope.core.evaluate.saturating import SaturatedLayer
from quantscope.core.evaluate.scores import Accuracy
from quantscope.core.evaluate.sums import TensorError, tensor_error

__all__ = [
    "Accuracy",
    "Comparison",
    "DefaultSession",
    "FloatReference",
    "FusionReport",
    "Latency",
    "LayerError",
    "OutputComparison",
    "OutputError",
    "Preview",
    "QuantizedFile",
    "SaturatedLayer",
    "TensorError",
    "check_interface",
    "compare",
    "error_dict",
    "float_reference",
    "fusion_report",
    "integer_layers",
    "layer_errors",
    "preview",
    "read_quantized",
    "tensor_error",
]
