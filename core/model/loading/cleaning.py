"""Bring a model into the one form the engine works on: current opset, float32, folded, named and typed."""

import logging
import re
import shutil
import tempfile
import weakref
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import onnxruntime as ort
from onnx_ir.passes import common as passes

from quantscope.core.errors import ModelError
from quantscope.core.model.layers import STANDARD_DOMAINS, is_float, subgraphs
from quantscope.core.model.loading.activations import cut_off_unused, simplify_activations
from quantscope.core.model.loading.affine import fold_affine
from quantscope.core.model.loading.modelcheck import (
    check_inference,
    check_not_quantized,
    check_operators,
    quantized_operators,
)
from quantscope.core.model.loading.modelfile import ModelFile
from quantscope.core.model.loading.moves import elementwise_first
from quantscope.core.model.loading.ortgraph import (
    external_values,
    fold,
    infer_shapes,
    locate_weights,
    newest_opset,
    probe_types,
    read_small_weights,
    read_weights,
    short_reason,
    weight_bytes,
)
from quantscope.core.model.loading.protofix import mend
from quantscope.core.model.loading.to_float32 import widen
from quantscope.core.model.loading.upgrade import (
    lower,
    needs_upgrade,
    opset_of,
    rewrite_removed,
    unify_functions,
    upgrade,
)

# onnx_ir warns of references to nowhere; ONNX Runtime refuses them, in better words.
logging.getLogger("onnx_ir").setLevel(logging.ERROR)

IN_MEMORY = 1_500_000_000  # bytes of weights; models with more keep them in a file, memory-mapped
_LISTED = 3  # control-flow nodes that are named one by one in notes
_IR_VERSIONS = (9, 10)  # what every ONNX Runtime in use reads; newer ones differ in metadata only


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """A model ready for quantization."""

    model: ir.Model
    notes: tuple[str, ...]  # what was done, and what stays float
    quantized: bool


def clean(file: ModelFile, *, allow_quantized: bool = False) -> Cleaned:
    """Check and clean; inputs and outputs keep their names, and so do the nodes and tensors that live on.

    Raises:
        ModelError: the model is of a kind that cannot be quantized, or ONNX Runtime cannot load it.
    """
    notes = mend(file.proto, file.shown)
    model = decode_graph(file)
    check_operators(model, file.shown)
    check_inference(model, file.shown)
    quantized = bool(quantized_operators(model))
    if quantized and not allow_quantized:
        check_not_quantized(model, file.shown)
    folder = Path(tempfile.mkdtemp(prefix="quantscope-"))
    keep = False
    try:
        if quantized:
            result = _look(model, file)
            notes.append("The model is already quantized: it can be looked at, not quantized again.")
        else:
            result = _transform(model, file, folder, notes)
        # The weights of a large model stay there, memory-mapped, as long as its graph is in use.
        keep = any(Path(t.base_dir) == folder for t in _external_tensors(result))
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    _tidy(result)
    notes.extend(_stays_float(result))
    return Cleaned(model=result, notes=tuple(notes), quantized=quantized)


def _external_tensors(model: ir.Model) -> list[ir.ExternalTensor]:
    return [v.const_value for v in external_values(model) if isinstance(v.const_value, ir.ExternalTensor)]


def decode_graph(file: ModelFile) -> ir.Model:
    """The file's graph as it is, but with functions inlined and no initializer listed as an input."""
    try:
        model = ir.from_proto(file.proto)
        passes.RemoveInitializersFromInputsPass()(model)
        if not model.graph.outputs:
            raise ModelError(
                f"'{file.shown}' has no outputs, so there is nothing to measure. Export it again."
            )
        passes.TopologicalSortPass()(model)
        if model.functions:
            unify_functions(model)
            passes.InlinePass()(model)
        if file.external:
            locate_weights(model, file.external)
            read_small_weights(model)
    except ModelError:
        raise
    except Exception as error:  # onnx_ir raises many types for malformed graphs
        reason = short_reason(error).rstrip(".")
        raise ModelError(f"'{file.shown}' has a malformed graph: {reason}. Export it again.") from error
    model.ir_version = min(max(model.ir_version, _IR_VERSIONS[0]), _IR_VERSIONS[1])
    return model


def _transform(model: ir.Model, file: ModelFile, folder: Path, notes: list[str]) -> ir.Model:
    """Upgrade, widen, fold. Where ONNX Runtime dislikes the result but runs the original, do less."""
    done: list[str] = []
    try:
        result = _fold(_prepare(model, done), folder, done)
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        notes.append(f"Not brought to a current opset and to float32: {short_reason(error)}")
    else:
        notes.extend(done)
        return result
    for basic in (True, False):
        original = decode_graph(file)
        name_nodes(original)
        try:
            return _fold(original, folder, notes, basic=basic)
        except Exception as error:
            if not basic:
                raise ModelError(_refusal(file.shown, error)) from error
            notes.append(f"Not folded: {short_reason(error)}")
    raise AssertionError("unreachable")


def _prepare(model: ir.Model, notes: list[str]) -> ir.Model:
    passes.LiftConstantsToInitializersPass(size_limit=64)(model)
    if opset_of(model) > (newest := newest_opset()):
        infer_shapes(model)
        notes.extend(lower(model, newest))
    notes.extend(rewrite_removed(model))
    if needs_upgrade(model):
        infer_shapes(model)  # some rules need types and ranks
        notes.extend(upgrade(model))
    notes.extend(widen(model))
    name_nodes(model)
    return model


def _fold(model: ir.Model, folder: Path, notes: list[str], *, basic: bool = True) -> ir.Model:
    weights = set(model.graph.initializers)
    before = Counter(node.op_type for node in model.graph)
    named = {node.name for node in model.graph.all_nodes()}
    result = fold(model, folder, basic=basic)
    if weight_bytes(result) <= IN_MEMORY:
        read_weights(result)
    _restore_names(result, weights, named)
    after = Counter(node.op_type for node in result.graph)
    folded = before["BatchNormalization"] - after["BatchNormalization"]
    if folded > 0:
        notes.append(f"{_count(folded, 'BatchNormalization node')} folded into the operators before them.")
    for op in ("LayerNormalization", "Gelu"):
        if after[op] > before[op]:
            notes.append(f"{_count(after[op] - before[op], op)} recognized in several nodes each, now one.")
    if basic:
        notes.extend(_simplify(result))
    return result


def _simplify(model: ir.Model) -> list[str]:
    """Fold and rewrite, in place, what exporters spell out; a note says how the graph differs then."""
    infer_shapes(model)
    before = Counter(node.op_type for node in model.graph)
    elementwise_first(model)
    simplify_activations(model)
    fold_affine(model)
    cut_off_unused(model)
    after = Counter(node.op_type for node in model.graph)
    if before == after:
        return []
    parts = [
        f"{', '.join(f'{count} {op}' for op, count in sorted(found.items()))} {word}"
        for found, word in ((before - after, "fewer"), (after - before, "more"))
        if found
    ]
    return [
        f"Constant scales, shifts and activations were folded into others or rewritten: {'; '.join(parts)}."
    ]


def _look(model: ir.Model, file: ModelFile) -> ir.Model:
    """A quantized model as it is; only checked to load."""
    name_nodes(model)
    with tempfile.TemporaryDirectory(prefix="quantscope-", ignore_cleanup_errors=True) as scratch:
        try:
            fold(model, Path(scratch), basic=False)
        except Exception as refusal:
            raise ModelError(_refusal(file.shown, refusal)) from refusal
    return model


def _refusal(name: str, error: Exception) -> str:
    reason = short_reason(error)
    if "is under development" in str(error):
        opset = re.search(r"[Oo]pset (\d+) is under", str(error))
        return (
            f"'{name}' uses opset {opset[1] if opset else '?'}, which ONNX Runtime "
            f"{ort.__version__} does not know yet. Export it with a lower opset version, or install a newer "
            "onnxruntime."
        )
    missing = re.search(r"(?:implementation|kernel) for (\w+)\((\d+)\)(?:.*? name '([^']+)')?", reason)
    if missing:
        where = f" (node '{missing[3]}')" if missing[3] else ""
        return (
            f"'{name}' needs {missing[1]} of opset {missing[2]}{where} for types that ONNX Runtime "
            f"{ort.__version__} has no CPU code for. Export it with other types or another opset."
        )
    remedy = "Export the model again, or check it with onnx.checker."
    return f"ONNX Runtime cannot load '{name}': {reason.rstrip('.')}. {remedy}"


_FUSION_PREFIX = re.compile(r"^(?:Conv(?:Bn|Mul|Add)Fusion_(?:W|B|BN_B|Mul_B|Add_B|Mul_W)_)+")
_FUSION_SUFFIX = re.compile(r"(?:/MatMulAddFusion|/LayerNormFusion|/GeluFusion)+/?$")


def _restore_names(model: ir.Model, before: set[str], named: set[str | None]) -> None:
    """Give folded weights and fused nodes the names of what they were made from, where these are free.

    A node that ONNX Runtime made up a name for is called after its output, which the file named.
    """
    graph = model.graph
    taken = set(graph.initializers) | {str(v.name) for v in graph.inputs}
    taken.update(str(v.name) for node in graph.all_nodes() for v in node.outputs)
    for name, value in list(graph.initializers.items()):
        plain = _FUSION_PREFIX.sub("", name)
        if name not in before and plain != name and plain not in taken and not value.is_graph_output():
            value.name = plain
            taken.add(plain)
    names = {node.name for node in graph.all_nodes()}
    for node in graph:
        plain = _FUSION_SUFFIX.sub("", node.name or "")
        if plain not in named and node.outputs[0].name:
            plain = node.outputs[0].name
        if plain and plain not in names:
            node.name = plain
            names.add(plain)


def name_nodes(model: ir.Model) -> None:
    """Give every node a unique name: its own, or operator and position in the file; never one of an input."""
    nodes = list(model.graph.all_nodes())
    given = {node.name for node in nodes if node.name}
    taken = {str(v.name) for v in model.graph.inputs}
    for position, node in enumerate(nodes):
        name = base = node.name or f"{node.op_type}_{position}"
        number = 2
        while name in taken or (name != node.name and name in given):
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        node.name = name


def _tidy(model: ir.Model) -> None:
    passes.RemoveUnusedOpsetsPass()(model)
    model.opset_imports.setdefault("", opset_of(model))
    model.ir_version = min(max(model.ir_version, _IR_VERSIONS[0]), _IR_VERSIONS[1])
    name_nodes(model)
    for graph in model.graphs():  # ONNX Runtime writes them in the order of a hash table
        for name in sorted(graph.initializers):
            graph.initializers[name] = graph.initializers.pop(name)
    infer_shapes(model)
    try:
        probe_types(model)
    except Exception:  # types stay unknown, and those tensors float
        return


def _stays_float(model: ir.Model) -> list[str]:
    """Sentences about what no recipe can quantize."""
    notes: list[str] = []
    inner = {node: sum(1 for g in subgraphs(node) for _ in g.all_nodes()) for node in model.graph}
    nested = {node: count for node, count in inner.items() if count}
    if len(nested) > _LISTED:
        kinds = " and ".join(sorted({node.op_type for node in nested}))
        notes.append(
            f"Inside {len(nested)} {kinds} nodes, {_count(sum(nested.values()), 'node')} stay float."
        )
    else:
        where = ((f"{node.op_type} '{node.name}'", count) for node, count in nested.items())
        notes.extend(f"Inside {name}, {_count(count, 'node')} stay float." for name, count in where)
    foreign = Counter(n.op_type for n in model.graph if n.domain not in STANDARD_DOMAINS)
    if foreign:
        listed = ", ".join(f"{count} {op}" for op, count in foreign.most_common(4))
        notes.append(f"Operators outside the ONNX standard stay float: {listed}.")
    ends = set(model.graph.outputs)
    double = sum(1 for n in model.graph for v in n.outputs if v.dtype == ir.DataType.DOUBLE and v not in ends)
    if double:
        notes.append(f"Computed in float64 and therefore never quantized: {_count(double, 'tensor')}.")
    for value in (*model.graph.inputs, *model.graph.outputs):
        if not isinstance(value.type, ir.TensorType) or value.dtype == ir.DataType.STRING:
            role = "Input" if value.is_graph_input() else "Output"
            notes.append(
                f"{role} '{value.name}' is no numeric tensor ({value.type}); it passes through untouched."
            )
    if not any(is_float(v) for node in model.graph if node not in nested for v in node.outputs):
        which = "No other operator" if nested else "No operator"
        notes.append(f"{which} computes in float, so nothing can be quantized.")
    return notes


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
