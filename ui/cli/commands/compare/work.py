"""What `quantscope compare` does, and `quantscope quantize --report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantscope.core.data import Samples
from quantscope.core.errors import ModelError
from quantscope.core.evaluate import Accuracy, Comparison, DefaultSession
from quantscope.core.evaluate import compare as measure
from quantscope.core.model import Model, load_model
from quantscope.ui.cli.options import Feed
from quantscope.ui.cli.samples import open_feed, unused_labels
from quantscope.ui.terminal.console import note, progress_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison as the engine gives it."""

    found: Comparison

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must not be missed."""
        return tuple(self.found.warnings)

    def to_json(self) -> dict[str, Any]:
        """The engine's figures; `accuracy` is null without labels, and `agreement` stands beside it."""
        figures = self.found.as_dict()
        for run, json in ((self.found, figures), (self.found.default, figures["default_session"])):
            if run is not None:
                json["agreement"] = None if run.accuracy is None else run.accuracy.agreement
                json["positions"] = run.accuracy is not None and run.accuracy.positions
                if right(run) is None:
                    json["accuracy"] = None
        return figures


def right(run: Comparison | DefaultSession) -> Accuracy | None:
    """How often the models are right; None without labels, as nothing is right or wrong then."""
    return None if run.accuracy is None or run.accuracy.float_top1 is None else run.accuracy


def compare(path: Path, quantized: Path, feed: Feed, *, quiet: bool) -> Compared:
    """Errors, accuracy, size and latency of a quantized model against its float original.

    Raises:
        QuantScopeError: A model or the samples are unusable, or do not belong together.
    """
    model = load_model(path)
    if not quantized.is_file():
        raise ModelError(f"there is no file '{quantized}'; check the path")
    return compared(model, quantized, open_feed(feed, model, accuracy=True), quiet=quiet)


def compared(model: Model, quantized: Path, samples: Samples, *, quiet: bool) -> Compared:
    """The same of a model and samples that are open.

    Raises:
        ModelError: No output of the two models can be compared.
    """
    with progress_bar("comparing", quiet) as progress:
        found = measure(model, quantized, samples, progress=progress)
    if found.outputs and all(item.mismatched for item in found.outputs):
        raise ModelError(
            f"the models cannot be compared: the outputs of {quantized.name} have other shapes than those of "
            "the float model. Compare with the float model it was made from."
        )
    if samples.labels is not None and right(found) is None:
        note(unused_labels(samples.labels, model))
    return Compared(found=found)
