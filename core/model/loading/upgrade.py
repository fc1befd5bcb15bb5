"""Bring old operators up to date, one at a time: names, types, subgraphs and weights stay untouched."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema

from quantscope.core.model.layers import STANDARD_DOMAINS
from quantscope.core.model.loading.oldops import CHANGED_MEANING, REMOVED, RULES, Tape, constant_tensor

MIN_OPSET = 13  # the first with per-channel QuantizeLinear
LAYER_NORM_OPSET, GELU_OPSET = 17, 20  # the first in which ONNX Runtime folds these into one operator
_SMALL = 4096  # bytes; constants up to here are shown to the converter, which reads axes and the like


@dataclass(frozen=True, slots=True)
class _Replacement:
    """Nodes that do what an old node did; `outputs` stand for its outputs, in order."""

    graph: ir.Graph
    node: ir.Node
    nodes: Sequence[ir.Node]
    outputs: Sequence[ir.Value | None]


def rewrite_removed(model: ir.Model) -> list[str]:
    """Express in standard operators those that ONNX 1.5 removed and ONNX Runtime still runs."""
    done: Counter[str] = Counter()
    for graph in list(model.graphs()):
        for node in list(graph):
            rule = REMOVED.get(node.op_type) if node.domain in STANDARD_DOMAINS else None
            if rule is not None:
                tape = Tape(opset_of(model))
                outputs = rule(node, tape)
                _replace(_Replacement(graph, node, tape.nodes, outputs))
                done[node.op_type] += 1
    if not done:
        return []
    what = ", ".join(f"{count} {op}" for op, count in sorted(done.items()))
    return [f"Operators removed from ONNX ({what}) were expressed in standard ones, which can be quantized."]


def needs_upgrade(model: ir.Model) -> bool:
    """Whether `upgrade` would try to raise the opset."""
    return bool(_targets(model, opset_of(model)))


def upgrade(model: ir.Model) -> list[str]:
    """Raise the standard operators, in place, to the opset quantization needs; a note says what was done.

    That is 13, or more where an operator of a later opset takes the place of many (LayerNormalization,
    Gelu), whose insides are better not rounded. Operators whose form changed are rebuilt by a rule of
    `oldops.py`, others by ONNX's version converter, each alone in a small model. All or none are.
    """
    old = opset_of(model)
    reason = ""
    for target in _targets(model, old):
        try:
            plan = _plan(model.graphs(), old, target)
        except _Impossible as error:
            reason = str(error)
            continue
        for replacement in plan:
            _replace(replacement)
        model.opset_imports.pop("ai.onnx", None)
        model.opset_imports[""] = target
        return [f"Upgraded from opset {old} to {target}."]
    if old >= MIN_OPSET:
        return []
    return [f"Stays at opset {old}, without scales per channel: {reason}."]


def unify_functions(model: ir.Model) -> None:
    """Raise the model, and the functions it defines, to the highest opset among them; inlining needs one.

    Raises:
        ValueError: an operator has no form in that opset.
    """
    opsets = [opset_of(model), *(f.opset_imports.get("", 1) for f in model.functions.values())]
    target = max(opsets)
    if min(opsets) == target:
        return
    try:
        plan = _plan(model.graphs(), opset_of(model), target)
        for function in model.functions.values():
            plan.extend(
                _plan([function.graph, *function.subgraphs()], function.opset_imports.get("", 1), target)
            )
    except _Impossible as error:
        raise ValueError(str(error)) from error
    for replacement in plan:
        _replace(replacement)
    for imports in (model.opset_imports, *(f.opset_imports for f in model.functions.values())):
        imports[""] = target


def lower(model: ir.Model, newest: int) -> list[str]:
    """Bring a model of a later opset down to `newest`, which ONNX Runtime knows, in place.

    Operators that changed since go through ONNX's converter. Where it has no way back, or this version of
    ONNX does not know the opset either, the model stays as it is, and will be refused.
    """
    old = opset_of(model)
    if not newest < old <= onnx.defs.onnx_opset_version():
        return []
    plan: list[_Replacement] = []
    for graph in model.graphs():
        for node in graph:
            schema = _schema(node.op_type, old) if node.domain in STANDARD_DOMAINS else None
            if schema is None or schema.since_version <= newest:
                continue
            try:
                plan.append(_from_converter(graph, node, old, newest))
            except Exception:  # the converter raises whatever its C++ code threw
                return []
    for replacement in plan:
        _replace(replacement)
    model.opset_imports[""] = newest
    return [f"Read as opset {newest} instead of {old}, the newest that this ONNX Runtime knows."]


def opset_of(model: ir.Model) -> int:
    """Version of the standard operators; 1 where the model does not say."""
    versions = [v for d, v in model.opset_imports.items() if d in STANDARD_DOMAINS and v is not None]
    return max(versions, default=1)


def _targets(model: ir.Model, old: int) -> list[int]:
    ops = {node.op_type for node in model.graph}
    targets = [MIN_OPSET]
    if {"ReduceMean", "Sqrt"} <= ops:
        targets.append(LAYER_NORM_OPSET)
    if "Erf" in ops:
        targets.append(GELU_OPSET)
    return [target for target in sorted(targets, reverse=True) if target > old]


class _Impossible(Exception):
    """An operator that has no later form."""


def _plan(graphs: Iterable[ir.Graph], old: int, target: int) -> list[_Replacement]:
    plan: list[_Replacement] = []
    for graph in graphs:
        for node in graph:
            if not _needs_conversion(node, old, target):
                continue
            try:
                plan.append(_convert(graph, node, old, target))
            except Exception as error:  # the converter raises whatever its C++ code threw
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise _Impossible(
                    f"{node.op_type} '{node.name}' has no form in opset {target} ({lines[-1][-160:]})"
                ) from error
    return plan


def _needs_conversion(node: ir.Node, old: int, target: int) -> bool:
    """Whether the operator's form (not only the set of its types) changed on the way."""
    if node.domain not in STANDARD_DOMAINS:
        return False
    before, after = _schema(node.op_type, old), _schema(node.op_type, target)
    if before is not None and after is not None and before.since_version == after.since_version:
        return False
    if old < CHANGED_MEANING.get(node.op_type, 0) <= target or after is None or after.deprecated:
        return True
    return any(name not in after.attributes for name in node.attributes)


def _schema(op: str, version: int) -> OpSchema | None:
    try:
        return onnx.defs.get_schema(op, version, "")
    except onnx.defs.SchemaError:
        return None


def _convert(graph: ir.Graph, node: ir.Node, old: int, target: int) -> _Replacement:
    rule = RULES.get(node.op_type)
    # Before 7, operators had attributes of another kind still (consumed_inputs, broadcast, is_test).
    if rule is None or (old < 7 and node.op_type != "PRelu"):
        return _from_converter(graph, node, old, target)
    tape = Tape(target)
    outputs = rule(node, tape)
    return _Replacement(graph, node, tape.nodes, outputs)


def _from_converter(graph: ir.Graph, node: ir.Node, old: int, target: int) -> _Replacement:
    """ONNX's converter on a model of this node alone."""
    inputs = {f"i{k}": v for k, v in enumerate(node.inputs) if v is not None}
    outputs = {f"o{k}": v for k, v in enumerate(node.outputs) if v.name}
    proto = ir.to_proto(node)
    del proto.input[:], proto.output[:]
    proto.input.extend(f"i{k}" if v is not None else "" for k, v in enumerate(node.inputs))
    proto.output.extend(f"o{k}" if v.name else "" for k, v in enumerate(node.outputs))
    alone = onnx.helper.make_graph(
        [proto],
        "alone",
        [_value_info(name, v) for name, v in inputs.items()],
        [_value_info(name, v) for name, v in outputs.items()],
    )
    for name, value in inputs.items():
        tensor = constant_tensor(value)
        if tensor is not None and tensor.nbytes <= _SMALL:
            alone.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), name))
    single = onnx.helper.make_model(alone, opset_imports=[onnx.helper.make_opsetid("", old)], ir_version=8)
    converted = ir.from_proto(onnx.version_converter.convert_version(single, target)).graph
    tape = Tape(target)
    known = _transplant(converted, inputs, tape)
    by_name = {str(v.name): known[v] for v in converted.outputs}
    return _Replacement(graph, node, tape.nodes, [by_name.get(f"o{k}") for k in range(len(node.outputs))])


def _transplant(source: ir.Graph, inputs: dict[str, ir.Value], tape: Tape) -> dict[ir.Value, ir.Value]:
    """Rebuild the converter's nodes on the values of the real graph; returns what stands for what."""
    known = {v: inputs[str(v.name)] for v in source.inputs if v.name in inputs}
    for value in source.initializers.values():
        if value not in known and value.const_value is not None:
            known[value] = inputs.get(str(value.name)) or tape.constant(value.const_value.numpy())
    for new in source:
        mapped = [None if v is None else known[v] for v in new.inputs]
        made = ir.Node("", new.op_type, mapped, list(new.attributes.values()), num_outputs=len(new.outputs))
        tape.nodes.append(made)
        known.update(zip(new.outputs, made.outputs, strict=True))
    return known


def _value_info(name: str, value: ir.Value) -> onnx.ValueInfoProto:
    kind = int(value.dtype) if value.dtype is not None else onnx.TensorProto.FLOAT
    shape = None
    if value.shape is not None:
        shape = [d if isinstance(d, int) else f"{name}_{k}" for k, d in enumerate(value.shape)]
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def _replace(new: _Replacement) -> None:
    """Put the new nodes in the old one's place; its tensors keep their names, types and shapes."""
    for part in new.nodes:
        part.name = None
    new.nodes[-1].name = new.node.name
    new.graph.insert_before(new.node, new.nodes)
    for old_value, value in zip(new.node.outputs, new.outputs, strict=False):
        if value is None:
            continue
        value.type, value.shape = old_value.type, old_value.shape
        name, old_value.name = old_value.name, f"{old_value.name}/replaced"
        value.name = name
        old_value.replace_all_uses_with(value, replace_graph_outputs=True)
    new.graph.remove(new.node, safe=True)
