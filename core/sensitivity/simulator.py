"""Runs of a model with any set of its quantizers switched on, computed in float between rounded tensors.

A rounded tensor holds the values of its integers, weights are those of their integers, and everything is
computed in float: what `quantize_model` of the restricted encodings gives without integer kernels. It is
the same on every machine but for the rounding of float kernels (relative 1e-6 a layer, which now and then
moves a value to the neighbouring step).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.model import Array, Layer, Model
from quantscope.core.quant import Encoding
from quantscope.core.quantize import Encodings
from quantscope.core.sensitivity.blocked import blocked
from quantscope.core.sensitivity.pieces import InputVersion, Piece, PieceGraph, piece_graph
from quantscope.core.sensitivity.quantizers import Quantizers, root_of

Value = tuple[str, bool]  # a tensor, as computed (False) or rounded (True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """What one run has computed of one sample."""

    on: Quantizers
    values: Mapping[Value, Array]  # the versions that the run has read
    outputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulation:
    """A model whose quantizers can be switched; may be used from several threads."""

    encodings: Encodings
    pieces: PieceGraph
    integer_made: frozenset[str] = field(repr=False)  # tensors that nodes on rounded values compute

    def trace(
        self, sample: Mapping[str, Array], on: Quantizers, until: Collection[str] | None = None
    ) -> Trace:
        """Run a sample and keep what every piece has computed.

        Args:
            sample: The model's inputs.
            on: What is rounded.
            until: Tensors of interest: only what they need is computed, and there are no outputs.
        """
        values: dict[Value, Array] = {(name, False): array for name, array in sample.items()}
        self._run(values, {}, on, self._needed(until))
        return Trace(on=on, values=values, outputs={} if until is not None else self._outputs(values, {}, on))

    def _needed(self, tensors: Collection[str] | None) -> list[int]:
        """The pieces that some tensors depend on, in order; all without tensors."""
        wanted = set(tensors or ())
        chosen = []
        for number in reversed(range(len(self.pieces.pieces))):
            piece = self.pieces.pieces[number]
            if tensors is None or not wanted.isdisjoint(piece.gives):
                wanted.update(piece.reads)
                chosen.append(number)
        return chosen[::-1]

    def rerun(self, base: Trace, on: Quantizers) -> Mapping[str, Array]:
        """Outputs of the base's sample with other quantizers, computing only what differs."""
        fresh: dict[Value, Array] = {}
        self._run(fresh, base.values, on, range(len(self.pieces.pieces)), base.on)
        return self._outputs(fresh, base.values, on)

    def alone(
        self, base: Trace, on: Quantizers, layer: Layer
    ) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """The tensors that a layer makes, as computed and as others read them.

        Nothing but the layer is run: `on` may differ from the base only in the layer's own quantizers.
        """
        made = [name for name in (*layer.inner, *layer.outputs) if (name, False) in base.values]
        numbers = [i for i, piece in enumerate(self.pieces.pieces) if not set(piece.gives).isdisjoint(made)]
        fresh: dict[Value, Array] = {}
        self._run(fresh, base.values, on, numbers, base.on)
        raw = {name: self._value((name, False), fresh, base.values) for name in made}
        seen = {
            name: self._value(self._version(name, InputVersion.ROUNDED, on), fresh, base.values)
            for name in made
        }
        return raw, seen

    def _run(
        self,
        fresh: dict[Value, Array],
        base: Mapping[Value, Array],
        on: Quantizers,
        numbers: Iterable[int],
        base_on: Quantizers | None = None,
    ) -> None:
        switched = _switches(on)
        for number in numbers:
            piece = self.pieces.pieces[number]
            if base_on is not None and not self._differs(piece, fresh, on, base_on):
                continue
            feed = {
                name: self._value(self._version(name, piece.version, on), fresh, base) for name in piece.reads
            }
            given = self.pieces.run(number, switched, feed)
            fresh.update({(name, False): array for name, array in given.items()})

    def _differs(
        self, piece: Piece, fresh: Mapping[Value, Array], on: Quantizers, base_on: Quantizers
    ) -> bool:
        """Whether a piece computes something else than in the base run."""
        if any(self._is_on(switch, on) != self._is_on(switch, base_on) for switch in piece.switches):
            return True
        return any(
            (name, False) in fresh
            or self._version(name, piece.version, on) != self._version(name, piece.version, base_on)
            for name in piece.reads
        )

    @staticmethod
    def _is_on(switch: str, on: Quantizers) -> bool:
        return switch in on.weights or switch in on.tensors

    def _version(self, name: str, version: InputVersion, on: Quantizers) -> Value:
        """The version of a value that is read."""
        tensor = self.pieces.tensors.get(name)
        if tensor is None or version is InputVersion.RAW or root_of(self.encodings, tensor) not in on.tensors:
            return name, False
        return name, version is InputVersion.ROUNDED or tensor in self.integer_made

    def _value(self, value: Value, fresh: dict[Value, Array], base: Mapping[Value, Array]) -> Array:
        found = fresh.get(value)
        name, rounded = value
        if found is None and (not rounded or (name, False) not in fresh):
            found = base.get(value)
        if found is None:
            raw = self._value((name, False), fresh, base)
            found = fresh[value] = round_values(raw, self.encodings.activations[self.pieces.tensors[name]])
        return found

    def _outputs(
        self, fresh: dict[Value, Array], base: Mapping[Value, Array], on: Quantizers
    ) -> dict[str, Array]:
        return {
            name: self._value(self._version(name, InputVersion.GIVEN, on), fresh, base)
            for name in self.pieces.outputs
        }


def simulation(model: Model, encodings: Encodings, *, plain: bool = False) -> Simulation:
    """Cut a model into pieces whose quantizers can be switched.

    Args:
        model: The float model.
        encodings: Its quantizers.
        plain: Keep every tensor in the model's own order of elements, at the price of speed.

    Raises:
        ModelError: ONNX Runtime does not accept a part of the model.
    """
    placement = encodings.placement
    made = (v.name for node in model.ir.graph if str(node.name) in placement.nodes for v in node.outputs)
    pieces = piece_graph(model, encodings)
    return Simulation(
        encodings=encodings,
        pieces=pieces if plain else blocked(pieces) or pieces,
        integer_made=frozenset(str(name) for name in made),
    )


def _switches(on: Quantizers) -> frozenset[str]:
    return on.weights | on.tensors


def round_values(x: Array, encoding: Encoding) -> Array:
    """`fake_quantize` with one scale, as fast as memory."""
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty(flat.shape, np.float32)
    limits = np.array([encoding.qmin, encoding.qmax], np.float32)
    _round(flat, out, np.float32(encoding.scale), np.float32(encoding.zero_point), limits)
    return out.reshape(x.shape)


@compiled
def _round(
    x: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
    scale: np.float32,
    zero: np.float32,
    limits: npt.NDArray[np.float32],
) -> None:
    low, high = limits[0] - zero, limits[1] - zero
    for i in range(x.size):
        q = np.rint(x[i] / scale)
        out[i] = min(max(q, low), high) * scale
