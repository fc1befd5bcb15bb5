"""Bring a model into the one form the engine works on: current opset, float32, folded, named, typed."""

import tempfile
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx_ir.passes import common as passes

from core.errors import ModelError

MIN_OPSET = 13  # first with per-channel QuantizeLinear
MIN_IR = 8


def optimize(model: ir.Model) -> ir.Model:
    """ONNX Runtime's own folding: constants, BatchNormalization, Identity, Dropout, MatMul + Add."""
    with tempfile.TemporaryDirectory(prefix="quantscope-", ignore_cleanup_errors=True) as folder:
        out = Path(folder) / "optimized.onnx"
        options = session_options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(out)
        data = ir.to_proto(model).SerializeToString()
        # ConstantSharing renames scalars for no gain here.
        session = ort.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantSharing"]
        )
        del session
        proto = onnx.load(str(out))
    return ir.from_proto(proto)


def session_options() -> ort.SessionOptions:
    """Quiet and light."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return options


def upgrade(model: ir.Model) -> tuple[ir.Model, str | None]:
    """At least opset 13."""
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", MIN_OPSET))
    if opset >= MIN_OPSET:
        return model, None
    try:
        proto = onnx.version_converter.convert_version(ir.to_proto(model), MIN_OPSET)
    except Exception as error:
        return model, f"Stays at opset {opset}: {error}"
    return ir.from_proto(proto), f"Upgraded from opset {opset} to {MIN_OPSET}."


def name_nodes(model: ir.Model) -> None:
    """Give every node a unique, non-empty name."""
    taken: set[str] = set()
    nodes = list(model.graph.all_nodes())
    named = {n.name for n in nodes if n.name}
    for index, node in enumerate(nodes):
        name = node.name or f"{node.op_type}_{index}"
        if name in taken or (not node.name and name in named):
            number = 2
            while f"{name}_{number}" in taken or f"{name}_{number}" in named:
                number += 1
            name = f"{name}_{number}"
        taken.add(name)
        node.name = name


def clean(proto: onnx.ModelProto) -> tuple[ir.Model, tuple[str, ...]]:
    """The cleaned model, and what was done to it."""
    notes: list[str] = []
    model = ir.from_proto(proto)
    passes.RemoveInitializersFromInputsPass()(model)
    model.ir_version = max(model.ir_version, MIN_IR)  # older ones list initializers as inputs
    if model.functions:
        passes.InlinePass()(model)
    model, note = upgrade(model)
    notes.extend([note] if note else [])
    from core.precision import widen

    note = widen(model)
    notes.extend([note] if note else [])
    name_nodes(model)
    try:
        model = optimize(model)
    except Exception as error:
        raise ModelError(f"ONNX Runtime cannot load the model: {error}") from error
    name_nodes(model)
    passes.RemoveUnusedOpsetsPass()(model)
    passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    model.ir_version = max(model.ir_version, MIN_IR)
    return model, tuple(notes)
