"""The int32 bias of integer accumulators, and weight scales that leave room for it."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.quant import Encoding
from quantscope.core.targets import WeightPlacement
from quantscope.core.thresholds import channel_rows

INT32_MAX = 2**31 - 1
HEADROOM = 2.0  # the accumulator holds the bias and the sum of products
FINE = 2.0**-22  # of a bias: step good enough for a channel whose weights are all zero

Float32 = npt.NDArray[np.float32]


def gemm_factors(node: ir.Node) -> tuple[float, float]:
    """Alpha and beta of a Gemm; 1 and 1 for other operators."""
    if node.op_type != "Gemm":
        return 1.0, 1.0
    return float(node.attributes.get_float("alpha", 1.0)), float(node.attributes.get_float("beta", 1.0))


def bias_vector(bias: Float32, weight: WeightPlacement, encoding: Encoding) -> Float32 | None:
    """The bias as one value an output channel; None where it is a full matrix, or not finite."""
    if not np.isfinite(bias).all():
        return None
    if bias.ndim and bias.size not in (1, bias.shape[-1]):
        return None
    flat = bias.reshape(-1)
    channels = encoding.scale.size * weight.groups if encoding.scale.ndim else flat.size
    if flat.size == 1 and channels > 1:
        return np.repeat(flat, channels)
    return flat if flat.size == channels else None


def accumulated_bias(
    node: ir.Node, weight: WeightPlacement, stored: Float32 | None, shift: Float32 | None, encoding: Encoding
) -> Float32 | None:
    """What a node's int32 accumulator starts from, one value an output channel.

    Args:
        node: Of the float model.
        weight: Its weight.
        stored: Its constant bias, if it has one.
        shift: Correction of its output, one value an output channel.
        encoding: Of the weight.

    Returns:
        None where there is neither, and where the bias is a full matrix or not finite: it stays float then,
        without the shift.
    """
    if stored is None:
        return shift
    _, beta = gemm_factors(node)
    values = bias_vector(stored * np.float32(beta), weight, encoding)
    return values if values is None or shift is None else np.asarray(values + shift, np.float32)


def bias_scale(weight: Encoding, input_: Encoding, groups: int = 1, alpha: float = 1.0) -> Float32:
    """The accumulator's scale, s_input · s_weight · alpha, per channel where the weight's is."""
    scale = weight.scale.astype(np.float64) * float(input_.scale) * alpha
    if scale.ndim and groups > 1:
        scale = np.tile(scale, groups)
    return np.asarray(scale, np.float32)


def quantize_bias(bias: Float32, scale: Float32) -> npt.NDArray[np.int32]:
    """int32 values of a bias that `weight_with_room` has made room for.

    Raises:
        OverflowError: A value does not fit; it is never wrapped or clipped.
    """
    integers = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    if integers.size and np.abs(integers).max() > INT32_MAX:
        raise OverflowError("a bias does not fit int32 at the scale of its input and weight")
    return np.asarray(integers, np.int32)


def fitted_weight(
    node: ir.Node,
    place: WeightPlacement,
    weight: Float32,
    raw: Encoding,
    bias: Float32 | None,
    input_: Encoding,
    shift: Float32 | None = None,
) -> Encoding:
    """The encoding `raw` of a weight, adjusted to the bias (and its shift) that shares the accumulator."""
    values = accumulated_bias(node, place, bias, shift, raw)
    if values is None:
        return raw
    empty = np.logical_not(channel_rows(weight, raw.axis).any(axis=1).reshape(raw.scale.shape))
    return weight_with_room(raw, empty, values, input_, place.groups, gemm_factors(node)[0])


def weight_with_room(
    weight: Encoding,
    empty: npt.NDArray[np.bool_],
    bias: Float32,
    input_: Encoding,
    groups: int = 1,
    alpha: float = 1.0,
) -> Encoding:
    """The weight's encoding with scales raised, per channel, to where the bias fits int32.

    A channel with nearly no weight and a large bias would overflow the accumulator; its weights are so
    small beside the bias that the coarser step does not matter. A channel of zeros, whose scale is free,
    gets one that represents the bias finely rather than the stand-in 1.

    Args:
        weight: Encoding with one scale, or one a channel.
        empty: Of the scale's shape: whether all weights of the channel are zero.
        bias: As `bias_vector` returns it.
        input_: Encoding of the node's input.
        groups: How often the weight's channels repeat in the bias (ConvTranspose).
        alpha: Gemm's factor on the product.
    """
    magnitude = np.abs(bias.astype(np.float64)).reshape(groups, -1)
    peak = magnitude.max(axis=0) if weight.scale.ndim else np.asarray(magnitude.max(initial=0.0))
    factor = float(input_.scale) * abs(alpha)
    fine = np.maximum(peak * FINE / factor, float(np.finfo(np.float32).tiny))
    scale = np.where(empty & (peak > 0.0), fine, weight.scale.astype(np.float64))
    least = HEADROOM * peak / (factor * INT32_MAX)
    return replace(weight, scale=np.asarray(np.maximum(scale, least), np.float32))
