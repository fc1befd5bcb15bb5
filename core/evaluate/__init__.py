"""Float against quantized: per layer, whole output, task accuracy, size, latency; run by ONNX Runtime."""

from quantscope.core.evaluate.answers import NOBODY, Answers, Differing, Errors
from quantscope.core.evaluate.by_sample import (
    BySample,
    Recovery,
    VersionBySample,
    by_sample,
    recovery,
    together,
)
from quantscope.core.evaluate.by_sample_file import by_sample_from_bytes, by_sample_to_bytes
from quantscope.core.evaluate.channels import Part
from quantscope.core.evaluate.closeness import closeness_db
from quantscope.core.evaluate.comparison import Comparison, DefaultSession, compare
from quantscope.core.evaluate.confusions import ClassPairs, Swap, class_numbers, swaps
from quantscope.core.evaluate.correspondence import (
    QuantizedFile,
    check_interface,
    match_tensors,
    read_quantized,
)
from quantscope.core.evaluate.fusion import FusionReport, fusion_report, integer_layers
from quantscope.core.evaluate.latency import Latency
from quantscope.core.evaluate.layer_output import (
    Reader,
    Sampled,
    by_tensor,
    cosines,
    read_otherwise,
    readers_of,
    row_count,
    sample_rows,
    spec_of,
    tensor_values,
)
from quantscope.core.evaluate.layers import NO_FUSION, LayerError, layer_errors, quantized_session
from quantscope.core.evaluate.lost import LostOutput, lost_outputs, output_warnings
from quantscope.core.evaluate.output_curve import OutputCurve, layer_output_curve, tensor_output_curve
from quantscope.core.evaluate.outputs import (
    OutputComparison,
    OutputError,
    OutputTotals,
    RunOutputs,
    ScoresSpec,
    compare_run,
    scores_spec,
)
from quantscope.core.evaluate.partly_quantized import activations_only, weights_only
from quantscope.core.evaluate.reference import (
    FloatReference,
    Preview,
    float_reference,
    preview,
    row_spans,
    whole_reference,
)
from quantscope.core.evaluate.saturating import SaturatedLayer
from quantscope.core.evaluate.scores import Accuracy, class_scores
from quantscope.core.evaluate.size import SizeBreakdown, size_breakdown
from quantscope.core.evaluate.stored import (
    Role,
    StoredQuantizer,
    StoredQuantizers,
    observe,
    stored_quantizers,
    weight_histogram,
)
from quantscope.core.evaluate.sums import ErrorSums, ErrorTotal, TensorError, error_sums, tensor_error
from quantscope.core.evaluate.tensor_encodings import LayerEncodings, layer_encodings

__all__ = [
    "NOBODY",
    "NO_FUSION",
    "Accuracy",
    "Answers",
    "BySample",
    "ClassPairs",
    "Comparison",
    "DefaultSession",
    "Differing",
    "ErrorSums",
    "ErrorTotal",
    "Errors",
    "FloatReference",
    "FusionReport",
    "Latency",
    "LayerEncodings",
    "LayerError",
    "LostOutput",
    "OutputComparison",
    "OutputCurve",
    "OutputError",
    "OutputTotals",
    "Part",
    "Preview",
    "QuantizedFile",
    "Reader",
    "Recovery",
    "Role",
    "RunOutputs",
    "Sampled",
    "SaturatedLayer",
    "ScoresSpec",
    "SizeBreakdown",
    "StoredQuantizer",
    "StoredQuantizers",
    "Swap",
    "TensorError",
    "VersionBySample",
    "activations_only",
    "by_sample",
    "by_sample_from_bytes",
    "by_sample_to_bytes",
    "by_tensor",
    "check_interface",
    "class_numbers",
    "class_scores",
    "closeness_db",
    "compare",
    "compare_run",
    "cosines",
    "error_sums",
    "float_reference",
    "fusion_report",
    "integer_layers",
    "layer_encodings",
    "layer_errors",
    "layer_output_curve",
    "lost_outputs",
    "match_tensors",
    "observe",
    "output_warnings",
    "preview",
    "quantized_session",
    "read_otherwise",
    "read_quantized",
    "readers_of",
    "recovery",
    "row_count",
    "row_spans",
    "sample_rows",
    "scores_spec",
    "size_breakdown",
    "spec_of",
    "stored_quantizers",
    "swaps",
    "tensor_error",
    "tensor_output_curve",
    "tensor_values",
    "together",
    "weight_histogram",
    "weights_only",
    "whole_reference",
]
