"""Models: opening one, and what can be quantized in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantscope._paths import path_of
from quantscope._table import Table, bytes_text, frame
from quantscope.core.errors import ModelError
from quantscope.core.model import Layer, Model, load_model
from quantscope.core.targets import Placement, find_placement
from quantscope.core.targets import target as find_target

if TYPE_CHECKING:
    import pandas as pd

ModelLike = Model | str | os.PathLike[str] | bytes


def load(path: str | os.PathLike[str] | bytes, *, allow_quantized: bool = False) -> Model:
    """Open a float ONNX model.

    Args:
        path: An .onnx file, with its external data beside it if it has any; or the content of one.
        allow_quantized: Open a model that is quantized already, to look at it with `inspect`.

    Returns:
        The model, cleaned for quantization. Among what it knows: `inputs`, `outputs` (name, dtype, shape),
        `layers` in the order of execution, `parameters`, `size_bytes`, `notes` on what was changed.

    Raises:
        ModelError: The file is missing, damaged, not ONNX, or of a kind that cannot be quantized.

    Examples:
        >>> model = qs.load("model.onnx")
        >>> [(info.name, info.shape) for info in model.inputs]
        [('pixels', ('N', 784))]
    """
    if isinstance(path, bytes):
        return load_model(path, allow_quantized=allow_quantized)
    return load_model(
        path_of(path, ModelError, "the path or content of a model, or what load() gives,"),
        allow_quantized=allow_quantized,
    )


def as_model(model: ModelLike) -> Model:
    """A model that is open, or the one in a file."""
    return model if isinstance(model, Model) else load(model)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Inspection(Table):
    """A model's layers, and which of them a target can compute in integers.

    Attributes:
        model: The model.
        target: Name of the target.
        quantizable: Names of the layers that have a quantizer of their own on it.
    """

    model: Model
    target: str
    quantizable: frozenset[str]

    def to_pandas(self) -> pd.DataFrame:
        """One row a layer: layer, op, shape of the output, parameters, macs (of one sample), quantizable."""
        columns = ("layer", "op", "shape", "parameters", "macs", "quantizable")
        return frame([self._row(layer) for layer in self.model.layers], columns)

    def _row(self, layer: Layer) -> dict[str, object]:
        return {
            "layer": layer.name,
            "op": "+".join(layer.ops) or layer.op,
            "shape": layer.shape,
            "parameters": layer.parameters,
            "macs": layer.macs,
            "quantizable": layer.name in self.quantizable,
        }

    def _headline(self) -> str:
        found = [layer for layer in self.model.layers if layer.kind == "compute"]
        can = sum(layer.name in self.quantizable for layer in found)
        return (
            f"{self.model.name}, {self.model.parameters:,} parameters, {bytes_text(self.model.size_bytes)}, "
            f"{can} of {len(found)} layers can be quantized for {self.target}"
        )

    def _remarks(self) -> tuple[str, ...]:
        return self.model.notes


def inspect(model: ModelLike, *, target: str = "onnxruntime-cpu") -> Inspection:
    """Show a model's layers, operators and shapes, and what can be quantized.

    Args:
        model: A model, or the path of one; also one that is quantized already, of which nothing is
            quantizable any more.
        target: What it would be quantized for.

    Raises:
        ModelError: The model cannot be opened.
        RecipeError: There is no such target.

    Examples:
        >>> qs.inspect("model.onnx")
        <Inspection: model, 89,610 parameters, 359.1 kB, 3 of 3 layers can be quantized for onnxruntime-cpu>
    """
    opened = model if isinstance(model, Model) else load(model, allow_quantized=True)
    to = find_target(target)
    placement = None if opened.quantized else find_placement(opened, to)
    can = frozenset(layer.name for layer in opened.layers if placement and _can(layer, placement))
    return Inspection(model=opened, target=to.name, quantizable=can)


def _can(layer: Layer, placement: Placement) -> bool:
    if layer.kind == "input":
        return layer.output in placement.tensors
    return not placement.nodes.isdisjoint(layer.nodes)
