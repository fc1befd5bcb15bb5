"""Refuse what cannot be quantized: unknown operators, already quantized graphs, training graphs."""

import functools
import re
from collections import Counter

import onnx
import onnx_ir as ir

from quantscope.core.errors import AlreadyQuantized, ModelError
from quantscope.core.model.layers import STANDARD_DOMAINS
from quantscope.core.model.loading.oldops import constant_tensor

# Operators that compute on, or convert to and from, integers or packed weights.
_QUANTIZED = re.compile(
    r"(Dynamic)?(De)?[Qq]uantize(Linear|BFP|WithOrder|LSTM|MatMul).*|QLinear\w+"
    r"|Q(Attention|Gemm|MoE|Ordered\w+)|QEmbedLayerNormalization|\w+Integer(16|ToFloat)?|GatherBlockQuantized|MatMul(NBits\w*|Bnb4|FpQ4)"
    r"|MatMulBlockQuantized\w+|GemmFloat8"
)
_TRAINING_DOMAINS = ("ai.onnx.training", "ai.onnx.preview.training")
_HINTS = {
    "onnx.brevitas": "They are quantizers of Brevitas; export the float model, or as QDQ.",
    "qonnx": "They are quantizers of QONNX; convert with qonnx-convert, or open the float model.",
    "ai.onnx.contrib": "They belong to onnxruntime-extensions (tokenizers, image codecs); export the model "
    "without its pre- and post-processing.",
    "org.pytorch.aten": "They are PyTorch operators without an ONNX form; export again with a newer opset.",
    "aten": "They are PyTorch operators without an ONNX form; export again with a newer opset.",
}


@functools.cache
def known_operators() -> frozenset[tuple[str, str]]:
    """(domain, operator) pairs that this ONNX Runtime, or ONNX itself, has a definition of."""
    known = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas_with_history()}
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        known.update((schema.domain, schema.name) for schema in state.get_all_operator_schema())
    except (ImportError, AttributeError):  # not part of its public interface; loading decides then
        pass
    return frozenset(known)


def check_operators(model: ir.Model, shown: str) -> None:
    """Refuse operators that ONNX Runtime does not have.

    Raises:
        ModelError: names each with its domain and count.
    """
    known = known_operators()
    functions = {(f.domain, f.name) for f in model.functions.values()}
    unknown: Counter[str] = Counter()
    domains: set[str] = set()
    for node in model.graph.all_nodes():
        domain = "" if node.domain in STANDARD_DOMAINS else node.domain
        if (domain, node.op_type) in known or (node.domain, node.op_type) in functions:
            continue
        unknown[f"{domain or 'ai.onnx'}.{node.op_type}"] += 1
        domains.add(domain)
    if not unknown:
        return
    listed = ", ".join(f"{count} × {op}" for op, count in unknown.most_common(5))
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    hints = [
        text for key, text in _HINTS.items() if any(d == key or d.startswith(f"{key}.") for d in domains)
    ]
    hint = hints[0] if hints else "Export the model with standard ONNX operators only."
    raise ModelError(
        f"'{shown}' uses custom operators that ONNX Runtime does not have: {listed}{more}. {hint}"
    )


def quantized_operators(model: ir.Model) -> Counter[str]:
    """Operators that show that a model is already quantized, with their counts; all subgraphs."""
    return Counter(n.op_type for n in _all_nodes(model) if _QUANTIZED.fullmatch(n.op_type))


def check_not_quantized(model: ir.Model, shown: str) -> None:
    """Refuse an already quantized model.

    Raises:
        AlreadyQuantized: names the operators that show it.
    """
    found = quantized_operators(model)
    if found:
        listed = ", ".join(f"{count} {op}" for op, count in found.most_common(3))
        raise AlreadyQuantized(
            f"'{shown}' is already quantized ({listed}). Open the float model it was made from; this one "
            "can only be looked at (read-only)."
        )


def check_inference(model: ir.Model, shown: str) -> None:
    """Refuse graphs made for training.

    Raises:
        ModelError: they hold training operators, or layers in training mode.
    """
    for node in _all_nodes(model):
        gradient = node.domain == "com.microsoft" and node.op_type.endswith("Grad")
        if node.domain in _TRAINING_DOMAINS or gradient:
            raise ModelError(
                f"'{shown}' is a training graph: it contains {node.domain}.{node.op_type}. Export the model "
                "for inference (model.eval() in PyTorch) and open that."
            )
        if _in_training_mode(node):
            raise ModelError(
                f"'{shown}' was exported in training mode: {node.op_type} '{node.name}' would compute from "
                "each batch. Export it in inference mode (model.eval() in PyTorch)."
            )


def _in_training_mode(node: ir.Node) -> bool:
    if node.domain not in STANDARD_DOMAINS:
        return False
    if node.op_type == "BatchNormalization":
        named = sum(bool(v.name) for v in node.outputs)
        return bool(node.attributes.get_int("training_mode", 0)) or named > 1
    if node.op_type == "Dropout" and len(node.inputs) > 2:
        mode, ratio = constant_tensor(node.inputs[2]), constant_tensor(node.inputs[1])
        on = mode is not None and bool(mode.numpy().any())
        return on and (ratio is None or bool(ratio.numpy().any()))
    return False


def _all_nodes(model: ir.Model) -> "list[ir.Node]":
    nodes = list(model.graph.all_nodes())
    for function in model.functions.values():
        nodes.extend(function.all_nodes())
    return nodes
