"""From choices and statistics to encodings, and from encodings to a quantized graph."""

from quantscope.core.quantize.bias import accumulated_bias, bias_scale, fitted_weight, gemm_factors
from quantscope.core.quantize.encodings import Encodings, adds_pairs
from quantscope.core.quantize.float_tensors import masked_tensors
from quantscope.core.quantize.naming import shortened
from quantscope.core.quantize.qdq import dequantizer, quantize_ir, quantize_model
from quantscope.core.quantize.resolver import resolve, unmultiplied_weight
from quantscope.core.quantize.saturation import LIMIT, Pairs, least_safe, pairs_of, partners, worst_sum
from quantscope.core.quantize.specs import activation_spec

__all__ = [
    "LIMIT",
    "Encodings",
    "Pairs",
    "accumulated_bias",
    "activation_spec",
    "adds_pairs",
    "bias_scale",
    "dequantizer",
    "fitted_weight",
    "gemm_factors",
    "least_safe",
    "masked_tensors",
    "pairs_of",
    "partners",
    "quantize_ir",
    "quantize_model",
    "resolve",
    "shortened",
    "unmultiplied_weight",
    "worst_sum",
]
