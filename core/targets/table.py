"""What each runtime or chip accepts: integer types, symmetry, and how each operator treats its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from quantscope.core.errors import RecipeError
from quantscope.core.quant import INT8, UINT8, UINT16, QuantSpec, QuantType, Range


class Precision(StrEnum):
    """The arithmetic of a layer: 8-bit, 16-bit activations with 8-bit weights, or left in float."""

    INT8 = "int8"
    INT16 = "int16"
    FLOAT = "float"


class Granularity(StrEnum):
    """One scale for a whole weight, or one for each output channel."""

    PER_CHANNEL = "per_channel"
    PER_TENSOR = "per_tensor"


class Role(StrEnum):
    """How an operator's float tensors take part in quantization."""

    LINEAR = "linear"  # weight, int32 bias; input and output have parameters of their own
    OWN = "own"  # every float input and output has parameters of its own
    NORM = "norm"  # data input and outputs; scale and bias stay float
    ACTIVATION = "activation"  # only behind a quantized tensor (Relu, Clip)
    SHARE = "share"  # the output keeps the parameters of a quantized input
    SPLIT = "split"  # as SHARE, and asks for its input to be quantized
    GATHER = "gather"  # as SHARE; a constant table is quantized too
    PAD = "pad"  # as SHARE where the padding value is exactly representable
    SELECT = "select"  # the output has parameters of its own if both branches are quantized


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A runtime or chip, and the quantization it executes."""

    name: str
    label: str  # for people
    activations: Mapping[Precision, QuantSpec]  # precision → how an activation is quantized
    weight: QuantSpec
    roles: Mapping[str, Role]  # operator type → role; operators not listed stay float
    # Operator type → range of its 8-bit output, unless its layer is set by hand.
    fixed_ranges: Mapping[str, Range]
    # Operator type → what the scale of its input over that of its output must stay below for its kernel.
    scale_ratio_limits: Mapping[str, float]
    integer_bits: int = 8  # widest activations that its integer kernels take; wider ones stay float
    # Whether weights are chosen so that no two products that a kernel adds first leave 16 bits; see
    # `core.quantize.saturation`.
    avoids_saturation: bool = False
    # Integer kernels in a row that a spelled-out function may take; what needs more is computed in float.
    function_kernels: int = 2
    note: str = ""  # what it is for, in a sentence

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions a layer can be given."""
        return (*self.activations, Precision.FLOAT)


_ROLES = {
    Role.LINEAR: ("Conv", "ConvTranspose", "Gemm", "MatMul"),
    Role.OWN: (
        "Add", "Mul", "Sigmoid", "LeakyRelu", "Softmax",
        "Concat", "GlobalAveragePool", "ArgMax", "CumSum",
    ),
    Role.NORM: ("LayerNormalization", "InstanceNormalization", "BatchNormalization"),
    Role.ACTIVATION: ("Relu", "Clip"),
    Role.SHARE: (
        "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten",
        "MaxPool", "AveragePool", "Resize", "Slice", "TopK",
    ),
    Role.SPLIT: ("Split",),
    Role.GATHER: ("Gather", "GatherElements"),
    Role.PAD: ("Pad",),
    Role.SELECT: ("Where",),
}  # fmt: skip

ONNXRUNTIME_CPU = Target(
    name="onnxruntime-cpu",
    label="ONNX Runtime (CPU)",
    note="Full 8-bit weights, for CPUs with VNNI, AVX-VNNI or Arm's dot product.",
    activations=MappingProxyType(
        {
            Precision.INT8: QuantSpec(type=UINT8, symmetric=False),
            Precision.INT16: QuantSpec(type=UINT16, symmetric=False),
        }
    ),
    weight=QuantSpec(type=INT8, symmetric=True, narrow_range=True),
    roles=MappingProxyType({op: role for role, ops in _ROLES.items() for op in ops}),
    # Its integer Softmax wraps around where a probability exceeds the range, for rows of some lengths.
    fixed_ranges=MappingProxyType({"Softmax": Range(0.0, 1.0)}),
    scale_ratio_limits=MappingProxyType({"GlobalAveragePool": 256.0}),
)

ANY_X86 = replace(
    ONNXRUNTIME_CPU,
    name="onnxruntime-any-x86",
    label="ONNX Runtime (any x86)",
    note="Weights that no x86 CPU can saturate on, also without VNNI: a default session gives exact results.",
    avoids_saturation=True,
)
SEVEN_BITS = replace(
    ONNXRUNTIME_CPU,
    name="onnxruntime-7bit",
    label="ONNX Runtime (7-bit weights)",
    note="The blunt way to keep any x86 CPU from saturating (reduce_range); to compare with.",
    weight=QuantSpec(type=QuantType(7, True), symmetric=True, narrow_range=True),
)
U8U8 = replace(
    ONNXRUNTIME_CPU,
    name="onnxruntime-u8u8",
    label="ONNX Runtime (unsigned weights)",
    note="uint8 weights: exact on any x86 CPU at full 8 bits, by kernels that are slower without VNNI.",
    weight=QuantSpec(type=UINT8, symmetric=True),
)

TARGETS: Mapping[str, Target] = MappingProxyType(
    {t.name: t for t in (ONNXRUNTIME_CPU, ANY_X86, SEVEN_BITS, U8U8)}
)


def target(name: str) -> Target:
    """The target called `name`.

    Raises:
        RecipeError: There is none.
    """
    try:
        return TARGETS[name]
    except KeyError:
        raise RecipeError(f"unknown target {name!r}; the targets are: {', '.join(TARGETS)}") from None
