"""How much noise in a channel matters at the network's end: squared weights multiplied along the way back."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.passes.channels import Channels
from quantscope.core.passes.observe import Observed

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """Noise to signal at the end that noise of variance 1 causes, channel by channel."""

    outputs: Mapping[str, Float64]  # linear node → for each output channel, before its activation
    tensors: Mapping[str, Float64]  # activation with scale variables → for each channel


def noise_gains(graph: ir.Graph, channels: Channels, observed: Mapping[str, Observed]) -> Gains:
    """Follow noise from where scale variables end, at 1 / variance of the signal, back to where it is made.

    A linear node passes noise of its inputs on with its squared weights, a Relu where it is not 0, an Add
    from both sides. Noise sources are taken as independent.

    Args:
        graph: The main graph.
        channels: Its scale variables.
        observed: Of every linear node's output, and of the activation behind it.
    """
    arriving = np.zeros(channels.count)
    outputs: dict[str, Float64] = {}
    tensors: dict[str, Float64] = {}
    for node in reversed(list(graph)):
        for value in node.outputs:
            if str(value.name) in channels.tensors:
                tensors[str(value.name)] = arriving[channels.tensors[str(value.name)][1]]
        found = channels.linears.get(str(node.name))
        if found is None:
            continue
        own = channels.outputs.get(found.name)
        after = arriving[own] if own is not None else np.zeros(found.out_channels)
        signal = float(observed[found.output].variance.sum()) or 1.0
        gain = np.where(after > 0, after * _open(node, observed), 1.0 / signal)
        outputs[found.name] = gain
        ids = channels.inputs.get(found.name)
        if ids is not None:
            squares = np.square(found.split(found.weight).astype(np.float64)).sum(axis=3)
            passed = np.einsum("goc,go->gc", squares, gain.reshape(found.groups, -1))
            np.add.at(arriving, ids, passed.reshape(-1))
    return Gains(outputs=outputs, tensors=tensors)


def gate(node: ir.Node) -> str:
    """The output of the Relu or Clip behind a node; its own output where there is none."""
    users = list(node.outputs[0].uses())
    behind = users[0].node if len(users) == 1 and users[0].node.op_type in ("Relu", "Clip") else node
    return str(behind.outputs[0].name)


def _open(node: ir.Node, observed: Mapping[str, Observed]) -> Float64:
    found = observed.get(gate(node))
    return found.nonzero if found is not None else np.ones(1)
