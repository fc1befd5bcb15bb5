"""A finished quantized model against the float one: what it has lost, and which change helps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import onnx

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.errors import DataError, ExportError, ModelError
from quantscope.core.evaluate import (
    FloatReference,
    Lost,
    OutputError,
    closeness_db,
    faults,
    float_reference,
    lost_outputs,
    preview,
    view,
)
from quantscope.core.export import PROTOBUF_LIMIT
from quantscope.core.model import Model
from quantscope.core.pipeline import quantize
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import Session
from quantscope.core.targets import Precision, place, target
from quantscope.core.thresholds import Method
from quantscope.core.tuning.spare_outputs import Sparing, sparings
from quantscope.core.tuning.trials import representative
from quantscope.core.words import decibels, plural

SAMPLES = 8  # that are run
CLEARLY_DB = 1.0  # a method may lose so much against MinMax before it is said
WINS_DB = 1.0  # a change must win more than this to be named as a remedy
REASONS = 2  # tensors that a message explains


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSparing:
    """A change that was measured to bring back what is lost."""

    option: Sparing
    before_db: float  # `closeness_db` of the quantized model without it
    after_db: float

    @property
    def sentence(self) -> str:
        """What helps, why, and by how much."""
        why = f" ({self.option.why})" if self.option.why else ""
        won = f"{decibels(self.before_db)} -> {decibels(self.after_db)}, every output at the same weight"
        return f"{self.option.label} helps{why}: {won}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MinMaxCloser:
    """MinMax comes clearly closer to the float model than the method that was asked for."""

    method: Method
    asked_db: float
    minmax_db: float
    samples: int

    @property
    def sentence(self) -> str:
        """Both figures."""
        return (
            f"{self.method} gives {decibels(self.asked_db)} here and minmax {decibels(self.minmax_db)} "
            f"({plural(self.samples, 'sample')})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalCheck:
    """What is wrong with a quantized model; everything is empty where nothing is."""

    outputs: tuple[OutputError, ...] = ()  # against the float model's, by channel
    lost: tuple[Lost, ...] = ()
    remedy: MeasuredSparing | None = None  # None where none was found, or none is needed
    minmax: MinMaxCloser | None = None  # None where MinMax is no better, or was not tried

    def faults(self, told: Callable[[Lost], str] = lambda one: one.sentence) -> tuple[str, ...]:
        """A sentence for each output that has lost channels, is mostly noise, or is not finite.

        Args:
            told: Words for lost channels, such as `Lost.advice` with what to do.
        """
        return faults(self.outputs, self.lost, told=told)


class AllFloatReason(StrEnum):
    """Why nothing of a model is quantized."""

    RECIPE = "recipe"  # it leaves every layer in float
    OPERATORS = "operators"  # none of them has an integer kernel
    VALUES = "values"  # no integers can hold those of the tensors
    AIM = "aim"  # tuning reaches what was asked for with all layers in float alone


@dataclass(frozen=True, slots=True, kw_only=True)
class AllFloat:
    """Nothing of a model is quantized by a recipe, and why."""

    model: str
    reason: AllFloatReason
    kept: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # tensor → why it is float

    @property
    def sentence(self) -> str:
        """The reason in words, without a full stop."""
        if self.reason is AllFloatReason.AIM:
            return "nothing is quantized: what was asked for is reached with all layers in float alone"
        if self.reason is AllFloatReason.RECIPE:
            return f"the recipe leaves all layers of {self.model} in float"
        if self.reason is AllFloatReason.OPERATORS:
            return f"no layer of {self.model} can be quantized"
        shown = "; ".join(
            f"'{tensor}' stays float: {why}" for tensor, why in list(self.kept.items())[:REASONS]
        )
        more = f"; and {len(self.kept) - REASONS:,} more" if len(self.kept) > REASONS else ""
        return f"no layer of {self.model} can be quantized ({shown}{more})"


def check_quantized(
    model: Model,
    recipe: Recipe,
    statistics: Statistics,
    samples: Samples,
    proto: onnx.ModelProto,
    *,
    beside_minmax: bool = False,
    threads: int | None = None,
) -> FinalCheck:
    """Run a few samples, and look for the least change that brings back what is lost.

    A model too large for one protobuf file is not run: nothing is found then.

    Args:
        model: The float model.
        recipe: Of the quantized model.
        statistics: Of the float model.
        samples: Calibration samples.
        proto: The quantized model.
        beside_minmax: Whether to measure MinMax, too.
        threads: Samples run side by side.
    """
    if proto.ByteSize() >= PROTOBUF_LIMIT:
        return FinalCheck()
    few = representative(samples, SAMPLES)
    reference = float_reference(model, few, count=SAMPLES, layers=False, threads=threads)
    seen = preview(reference, proto, layers=False, threads=threads)
    outputs, before = seen.output.outputs, closeness_db(seen)
    lost = lost_outputs(model, outputs, view(model, proto))
    remedy = None
    if faults(outputs, lost):
        remedy = _remedy(model, recipe, statistics, samples, reference, outputs, before, threads)
    minmax = None
    method = recipe.default.method
    if beside_minmax and method is not None and method is not Method.MINMAX:
        minmax = _minmax(model, recipe, method, statistics, reference, before, threads)
    return FinalCheck(outputs=outputs, lost=lost, remedy=remedy, minmax=minmax)


def _remedy(
    model: Model,
    recipe: Recipe,
    statistics: Statistics,
    samples: Samples,
    reference: FloatReference,
    outputs: tuple[OutputError, ...],
    before: float,
    threads: int | None,
) -> MeasuredSparing | None:
    """The first change that wins enough and leaves no output lost."""
    for option in sparings(model, recipe, outputs, statistics):
        made = quantize(model, option.applied(recipe), samples, statistics=statistics, threads=threads)
        other = preview(reference, made.proto, layers=False, threads=threads)
        after = closeness_db(other)
        if after > before + WINS_DB and not other.output.lost:
            return MeasuredSparing(option=option, before_db=before, after_db=after)
    return None


def _minmax(
    model: Model,
    recipe: Recipe,
    method: Method,
    statistics: Statistics,
    reference: FloatReference,
    asked: float,
    threads: int | None,
) -> MinMaxCloser | None:
    """What MinMax gives on the same samples, where it is clearly closer."""
    plain = quantize_model(model, resolve(recipe.with_default(method=Method.MINMAX), statistics, model))
    other = closeness_db(preview(reference, plain, layers=False, threads=threads))
    if not asked < other - CLEARLY_DB:
        return None
    return MinMaxCloser(method=method, asked_db=asked, minmax_db=other, samples=len(reference))


def check_tuned(
    model: Model,
    asked_for: Recipe,
    chosen: Recipe,
    statistics: Statistics,
    samples: Samples,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> FinalCheck | AllFloat:
    """What must not be missed about the recipe that tuning ends with.

    Args:
        model: The float model.
        asked_for: What tuning started from.
        chosen: What it ended with.
        statistics: Of the float model.
        samples: Calibration samples.
        threads: Samples run side by side.
        progress: Told how far it is; may raise `Cancelled`.
    """
    made = quantize(model, chosen, samples, statistics=statistics, threads=threads, progress=progress)
    if made.encodings.placement.nodes:
        return check_quantized(model, chosen, statistics, samples, made.proto, threads=threads)
    return all_float(model, asked_for, statistics) or AllFloat(model=model.name, reason=AllFloatReason.AIM)


def all_float(model: Model, recipe: Recipe, statistics: Statistics | None = None) -> AllFloat | None:
    """Why a recipe quantizes nothing of a model; None where it quantizes something.

    Args:
        model: The float model.
        recipe: The choices; its passes are not run.
        statistics: Of the float model; None = ask only for what is known before calibration.
    """
    if statistics is None:
        none = not place(model, target(recipe.target), _float_layers(model, recipe)).nodes
    else:
        none = not resolve(recipe.with_passes(), statistics, model).placement.nodes
    return why_all_float(model, recipe, statistics) if none else None


def why_all_float(model: Model, recipe: Recipe, statistics: Statistics | None = None) -> AllFloat:
    """Why a model is all float that was made by a recipe; for a model that is known to be.

    Args:
        model: The float model.
        recipe: The choices.
        statistics: Of the float model; they tell which tensors no integers can hold.
    """
    to = target(recipe.target)
    kept = {} if statistics is None else resolve(recipe.with_passes(), statistics, model).kept_float
    if place(model, to, (), kept).nodes and _float_layers(model, recipe):
        return AllFloat(model=model.name, reason=AllFloatReason.RECIPE)
    reason = AllFloatReason.VALUES if kept else AllFloatReason.OPERATORS
    return AllFloat(model=model.name, reason=reason, kept=MappingProxyType(dict(kept)))


def _float_layers(model: Model, recipe: Recipe) -> set[str]:
    return {layer.name for layer in model.layers if recipe.choice(layer.name).precision is Precision.FLOAT}


def check_runs(proto: onnx.ModelProto, samples: Samples | None) -> None:
    """Run the quantized model once, so that no file is written that does not run.

    Args:
        proto: The quantized model; one too large for one protobuf file is not run.
        samples: Of which the first is run; None = only load it.

    Raises:
        ExportError: ONNX Runtime refuses it.
    """
    if proto.ByteSize() >= PROTOBUF_LIMIT:
        return
    try:
        session = Session(proto.SerializeToString(), what="the quantized model")
        if samples is not None:
            session.run(samples[0])
    except (ModelError, DataError) as error:
        raise ExportError(f"{error}. Leave that layer in float") from error
