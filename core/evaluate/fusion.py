"""What ONNX Runtime makes of a quantized model: which nodes run as integer kernels, and which stay float."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from quantscope.core.errors import ModelError
from quantscope.core.evaluate.correspondence import QuantizedFile, read_quantized
from quantscope.core.model import Model
from quantscope.core.runtime import (
    EXTERNAL_FOLDER,
    EXTERNAL_WEIGHTS,
    ORT_ERRORS,
    WEIGHTS_FILE,
    first_line,
    open_session,
    session_options,
)

_INTEGER = frozenset(
    {
        "QGemm", "QAttention", "QEmbedLayerNormalization", "QOrderedMatMul",
        "MatMulInteger", "MatMulIntegerToFloat", "MatMulInteger16", "ConvInteger",
        "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulNBits",
    }
)  # fmt: skip
_CONVERT = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"})
# These move or choose values without computing on them, whatever the type.
_MOVE = frozenset(
    {
        "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Concat", "Split", "Slice",
        "Gather", "GatherElements", "GatherND", "Expand", "Tile", "Pad", "DepthToSpace", "SpaceToDepth",
        "Shape", "Size", "Constant", "ConstantOfShape", "Range", "NonZero", "Where", "MaxPool", "NhwcMaxPool",
        "Resize", "Upsample", "ReorderInput", "ReorderOutput", "MemcpyToHost", "MemcpyFromHost",
    }
)  # fmt: skip
_ASIDE_BYTES = 1 << 28  # of a model whose weights are written to a file of their own
_LAYOUT_SUFFIX = re.compile(r"_token_\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionReport:
    """The nodes of a model after ONNX Runtime's optimization for this machine's CPU."""

    ops: Mapping[str, int]  # operator → nodes, most frequent first
    nodes: Mapping[str, str]  # node name → operator, for nodes that have a name
    integer: int  # nodes that compute on integers
    floating: int  # nodes that compute on floats (or on shapes and indices)
    conversions: int  # QuantizeLinear, DequantizeLinear, Cast
    moves: int  # nodes that move values without computing

    @property
    def integer_share(self) -> float:
        """Integer nodes among those that compute; 0 if none does."""
        computing = self.integer + self.floating
        return self.integer / computing if computing else 0.0


def is_integer_kernel(op: str) -> bool:
    """Whether an operator of an optimized graph computes on integers."""
    return op in _INTEGER or op.startswith("QLinear")


@contextmanager
def optimized_file(file: QuantizedFile, *, exact: bool) -> Iterator[tuple[onnx.GraphProto, Path]]:
    """The graph that ONNX Runtime makes of a quantized model, and the folder of its weights; gone afterwards.

    Args:
        file: The model.
        exact: As a session with exact sums has it; False = as a default session on this processor.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """
    options = session_options(exact=exact)
    if file.folder is not None:
        options.add_session_config_entry(EXTERNAL_FOLDER, str(file.folder))
    with tempfile.TemporaryDirectory(prefix="quantscope-", ignore_cleanup_errors=True) as folder:
        path = Path(folder).resolve() / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        options.add_session_config_entry("session.disable_prepacking", "1")
        if file.size_bytes > _ASIDE_BYTES:
            options.add_session_config_entry(EXTERNAL_WEIGHTS, WEIGHTS_FILE)
        try:
            open_session(file.data, options)
        except ORT_ERRORS as error:
            raise ModelError(f"ONNX Runtime does not run the quantized model: {first_line(error)}") from error
        yield onnx.load(path, load_external_data=False).graph, path.parent


def layer_names(model: Model) -> dict[str, str]:
    """Node of the float model → its layer."""
    return {node: layer.name for layer in model.layers for node in layer.nodes}


def original_name(node: str) -> str:
    """The float node that a fused one replaces: ONNX Runtime adds a suffix if it changes the layout."""
    return _LAYOUT_SUFFIX.sub("", node).removesuffix("_quant")


def fusion_report(quantized: bytes | str | Path | onnx.ModelProto) -> FusionReport:
    """Optimize a model as a default session would, and count.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """
    with optimized_file(read_quantized(quantized), exact=False) as (graph, _):
        nodes = list(graph.node)
    ops = Counter(node.op_type for node in nodes)
    integer = sum(n for op, n in ops.items() if is_integer_kernel(op))
    conversions = sum(n for op, n in ops.items() if op in _CONVERT)
    moves = sum(n for op, n in ops.items() if op in _MOVE)
    return FusionReport(
        ops=dict(ops.most_common()),
        nodes={node.name: node.op_type for node in nodes if node.name},
        integer=integer,
        floating=len(nodes) - integer - conversions - moves,
        conversions=conversions,
        moves=moves,
    )


def integer_layers(report: FusionReport, model: Model) -> frozenset[str]:
    """Names of the float model's layers whose main node runs as an integer kernel."""
    running = {original_name(name) for name, op in report.nodes.items() if is_integer_kernel(op)}
    return frozenset(layer.name for layer in model.layers if layer.name in running)
