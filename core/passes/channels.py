"""Which channels of a network can be rescaled: by 1/s where they are made, and by s where they are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.passes.linear import LinearWeight

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledConstant:
    """A constant that is divided by the scales: a factor that makes channels, or what is added to them."""

    node: ir.Node
    operand: int
    axis: int  # channel axis, counted from the end: negative
    ids: Ids
    factor: bool  # multiplied, not added

    @property
    def name(self) -> str:
        """The initializer's name."""
        return str(self.node.inputs[self.operand].name)  # type: ignore[union-attr]  # seen when it was found

    def extremes(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Its smallest and its largest value in each channel: (channels,) each, or one for all."""
        value = self.node.inputs[self.operand]
        assert value is not None
        assert value.const_value is not None
        array = np.asarray(value.const_value.numpy(), np.float32)
        channels = array.shape[self.axis] if array.ndim >= -self.axis else 1
        rows = (np.moveaxis(array, self.axis, 0) if channels > 1 else array).reshape(channels, -1)
        return rows.min(axis=1), rows.max(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSite:
    """A Clip between 0 (or nothing) and an upper bound, which scaling would move."""

    node: ir.Node
    tensor: str  # before it
    upper: float
    axis: int
    ids: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Scale variables of a network: the channels that weights and factors make, tied where values meet."""

    count: int  # variables
    fixed: npt.NDArray[np.bool_]  # (count,) must keep their scale
    linears: Mapping[str, LinearWeight]  # by node name, in topological order
    inputs: Mapping[str, Ids]  # linear → variable of each input channel; absent where there is none
    outputs: Mapping[str, Ids]
    constants: tuple[ScaledConstant, ...]
    clips: tuple[ClipSite, ...]
    tensors: Mapping[str, tuple[int, Ids]]  # activation → its channel axis, and the variable of each channel


@dataclass(slots=True)
class ChannelMap:
    """Where a value has its channels, and what their variables are."""

    axis: int
    ids: Ids  # one for each channel along the axis


@dataclass(slots=True)
class ChannelWalk:
    """What is known so far on the way through a graph."""

    parents: list[int] = field(default_factory=list)
    stuck: list[Ids] = field(default_factory=list)
    maps: dict[ir.Value, ChannelMap] = field(default_factory=dict)
    linears: dict[str, LinearWeight] = field(default_factory=dict)
    inputs: dict[str, Ids] = field(default_factory=dict)
    outputs: dict[str, Ids] = field(default_factory=dict)
    constants: list[ScaledConstant] = field(default_factory=list)
    clips: list[ClipSite] = field(default_factory=list)

    def fix(self, value: ir.Value | None) -> None:
        """Keep the scales of a value's channels."""
        if value is not None and value in self.maps:
            self.stuck.append(self.maps[value].ids)

    def is_stuck(self, value: ir.Value) -> bool:
        """Whether none of a value's channels may change its scale, as far as is known."""
        known = {self.find(i) for ids in self.stuck for i in ids.tolist()}
        return all(self.find(i) in known for i in self.maps[value].ids.tolist())

    def new(self, count: int) -> Ids:
        """Fresh variables."""
        first = len(self.parents)
        self.parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, i: int) -> int:
        """The variable that stands for all that are tied to it."""
        while self.parents[i] != i:
            self.parents[i] = self.parents[self.parents[i]]
            i = self.parents[i]
        return i

    def tie(self, a: Ids, b: Ids) -> None:
        """Make variables equal, one by one."""
        for i, j in zip(a.tolist(), b.tolist(), strict=True):
            one, other = self.find(i), self.find(j)
            self.parents[max(one, other)] = min(one, other)

    def give(self, value: ir.Value, axis: int, ids: Ids) -> None:
        """The channels of a value, unless its shape says otherwise."""
        shape = value.shape
        if shape is not None and axis < len(shape) and shape[axis] == len(ids):
            self.maps[value] = ChannelMap(axis, ids)
        else:
            self.stuck.append(ids)

    def scale_constant(self, node: ir.Node, operand: int, axis: int, ids: Ids, factor: bool) -> None:
        """Note a constant that scales with its channels."""
        found = ScaledConstant(node=node, operand=operand, axis=axis, ids=ids, factor=factor)
        self.constants.append(found)

    def result(self) -> Channels:
        """Everything, with the tied variables numbered from 0."""
        roots = np.array([self.find(i) for i in range(len(self.parents))], np.int64)
        names, compact = np.unique(roots, return_inverse=True)
        fixed = np.zeros(len(names), bool)
        for ids in self.stuck:
            fixed[compact[ids]] = True
        return Channels(
            count=len(names),
            fixed=fixed,
            linears=self.linears,
            inputs={name: compact[ids] for name, ids in self.inputs.items()},
            outputs={name: compact[ids] for name, ids in self.outputs.items()},
            constants=tuple(replace(constant, ids=compact[constant.ids]) for constant in self.constants),
            clips=tuple(replace(clip, ids=compact[clip.ids]) for clip in self.clips),
            tensors={str(v.name): (m.axis, compact[m.ids]) for v, m in self.maps.items()},
        )
