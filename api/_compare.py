"""Comparing: what a quantized model loses and saves against the float one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from quantscope._data import as_samples
from quantscope._inspect import ModelLike, as_model
from quantscope._paths import path_of
from quantscope._progress import ProgressOption, shown
from quantscope._quantize import QuantizedModel
from quantscope._table import Table, bytes_text, frame
from quantscope._warnings import warn
from quantscope.core.data import Samples
from quantscope.core.data.sources import all_ignored, label_shapes
from quantscope.core.errors import ModelError
from quantscope.core.evaluate import Accuracy, Latency, LayerError, OutputError, TensorError, output_warnings
from quantscope.core.evaluate import Comparison as Measured
from quantscope.core.evaluate import compare as measure
from quantscope.core.model import Model
from quantscope.core.words import decibels

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from quantscope.ui.content.rows import Row

QuantizedLike = QuantizedModel | str | os.PathLike[str] | bytes | onnx.ModelProto
COLUMNS = ("layer", "op", "tensor", "type", "sqnr_db", "cosine", "local_sqnr_db", "local_cosine")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Comparison(Table):
    """How far a quantized model is from the float one.

    Attributes:
        model: The float model.
        figures: Everything that was measured; `figures.as_dict()` is ready for JSON.
        warnings: What must not be missed; also issued as `QuantScopeWarning`.
    """

    model: Model
    figures: Measured
    warnings: tuple[str, ...] = ()

    @property
    def output(self) -> TensorError:
        """Errors of all float outputs taken as one vector: sqnr_db, cosine, mse, max_abs_error, …."""
        return self.figures.output

    @property
    def outputs(self) -> tuple[OutputError, ...]:
        """Errors of each output: name, error, and by channel."""
        return self.figures.outputs

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantization noise of the outputs in dB; inf where nothing differs, None without any."""
        return self.figures.output.sqnr_db

    @property
    def accuracy(self) -> Accuracy | None:
        """Top-1, top-5 and agreement as shares from 0 to 1; None where no output is class scores."""
        return self.figures.accuracy

    @property
    def layers(self) -> tuple[LayerError, ...]:
        """Errors of each layer, with all before it quantized (cumulative), and it alone (local)."""
        return self.figures.layers

    @property
    def latency(self) -> Latency | None:
        """Milliseconds a sample, float_ms and quantized_ms, on this machine; None if not asked for."""
        return self.figures.latency

    def to_pandas(self) -> pd.DataFrame:
        """One row a layer, in the order of execution.

        layer, op, tensor, type, then SQNR in dB and cosine with everything before it quantized too, then the
        same for the layer quantized alone (local_…); missing where nothing was measured.
        """
        return frame([self._row(error) for error in self.layers], COLUMNS)

    def _row(self, error: LayerError) -> dict[str, object]:
        return {
            "layer": error.layer,
            "op": self.model.layer(error.layer).op,
            "tensor": error.tensor,
            "type": error.type or "float",
            "sqnr_db": _figure(error.cumulative, "sqnr_db"),
            "cosine": _figure(error.cumulative, "cosine"),
            "local_sqnr_db": _figure(error.local, "sqnr_db"),
            "local_cosine": _figure(error.local, "cosine"),
        }

    def plot(self) -> go.Figure:
        """SQNR of every layer in dB, alone and cumulative, as on the app's page Overview."""
        from quantscope.ui.figures.errors import error_figure

        return error_figure([self._drawn(error) for error in self.layers])

    def _drawn(self, error: LayerError) -> Row:
        from quantscope.ui.content.rows import Row

        layer = self.model.layer(error.layer)
        return Row(
            name=error.layer,
            kind=layer.kind,
            op="+".join(layer.ops) or layer.op,
            shape="",
            strategy="",
            own=False,
            precision=error.type or "float",
            weights="",
            low=None,
            high=None,
            clipped=None,
            tensor_sqnr=None,
            local_sqnr=_figure(error.local, "sqnr_db"),
            cumulative_sqnr=_figure(error.cumulative, "sqnr_db"),
            cumulative_cosine=_figure(error.cumulative, "cosine"),
            shared="",
            flag="",
        )

    def _headline(self) -> str:
        found, scores = self.figures, self.figures.accuracy
        said = ["no figures" if self.sqnr_db is None else decibels(self.sqnr_db)]
        if scores is not None and scores.float_top1 is not None and scores.quantized_top1 is not None:
            said.append(f"top-1 {scores.float_top1:.1%} -> {scores.quantized_top1:.1%}")
        elif scores is not None:
            said.append(f"{scores.agreement:.1%} of {scores.rows:,} rows keep their class")
        said.append(f"{bytes_text(found.float_bytes)} -> {bytes_text(found.quantized_bytes)}")
        if found.latency is not None:
            said.append(f"{found.latency.float_ms:.2f} -> {found.latency.quantized_ms:.2f} ms")
        return ", ".join([*said, f"{found.samples:,} samples"])

    def _remarks(self) -> tuple[str, ...]:
        return self.warnings


def _figure(error: TensorError | None, name: str) -> float | None:
    found: float | None = None if error is None else getattr(error, name)
    return found


def compare(
    model: ModelLike,
    quantized: QuantizedLike,
    data: Any,
    *,
    labels: Any = None,
    layers: bool = True,
    latency: bool = True,
    threads: int | None = None,
    progress: ProgressOption = None,
) -> Comparison:
    """Run both models on every sample with ONNX Runtime, and measure the difference.

    Args:
        model: The float model, or the path of it.
        quantized: What `quantize` gave; or the path, content or proto of a quantized version of the model
            from any tool, with the same inputs and outputs.
        data: Samples to evaluate on, or anything that `open_data` opens; best none that calibration saw.
        labels: Class of each sample (n,), or of each position (n, ...), if `data` has none or is not open.
        layers: Also compare layer by layer, on up to 64 samples.
        latency: Also measure milliseconds a sample, on one thread.
        threads: Samples that are run side by side; None = one a processor. Errors do not depend on it.
        progress: True, False, or a function that is told each `Progress`; None = a bar where somebody looks.

    Raises:
        ModelError: A model cannot be opened or run, or the two do not belong together.
        DataError: The samples do not fit, or the labels are no classes of the model.

    Warns:
        QuantScopeWarning: An output is lost or not finite, or labels are not used.

    Examples:
        >>> found = qs.compare(model, qs.quantize(model, data), "eval.npz", latency=False)
        >>> found.accuracy.float_top1
        0.973
        >>> list(found.to_pandas().columns[:4])
        ['layer', 'op', 'tensor', 'type']
    """
    opened = as_model(model)
    samples = as_samples(data, opened, labels=labels, labels_needed=True)
    with shown(progress, "comparing") as heard:
        found = measure(
            opened,
            _source(quantized),
            samples,
            layers=layers,
            latency=latency,
            threads=threads,
            progress=heard,
        )
    if found.outputs and all(one.mismatched for one in found.outputs):
        raise ModelError(
            "the models cannot be compared: their outputs have other shapes. Compare with the float model "
            "that the quantized one was made from."
        )
    warnings = (*_warnings(found), *_unused_labels(found, samples, opened))
    warn(warnings)
    return Comparison(model=opened, figures=found, warnings=warnings)


def _warnings(found: Measured) -> tuple[str, ...]:
    """The engine's, with advice instead of the command line's options."""
    options = output_warnings(found.outputs, found.lost, sentence_of=lambda one: one.options)
    advice = output_warnings(found.outputs, found.lost, sentence_of=lambda one: one.advice)
    instead = dict(zip(options, advice, strict=True))
    return tuple(instead.get(said, said) for said in found.warnings)


def _source(quantized: QuantizedLike) -> bytes | Path | onnx.ModelProto:
    if isinstance(quantized, QuantizedModel):
        return quantized.proto
    if isinstance(quantized, bytes | onnx.ModelProto):
        return quantized
    path = path_of(quantized, ModelError, "what quantize() gives, or the path or content of such a model,")
    if not path.is_file():
        raise ModelError(f"there is no file '{path}'; check the path")
    return path


def _unused_labels(found: Measured, samples: Samples, model: Model) -> list[str]:
    if samples.labels is None or (found.accuracy is not None and found.accuracy.float_top1 is not None):
        return []
    if all_ignored(samples.labels):
        return ["the labels are not used: all of them are the ignore label"]
    return [f"the labels are not used: they have the shape {samples.labels.shape}; {label_shapes(model)}"]
